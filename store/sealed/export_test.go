package sealed

// CheapPassphrase is [Passphrase] at a fraction of the cost. What it seals a real one does not open.
func CheapPassphrase(passphrase string) Key { return Key{passphrase: &phrase{passphrase, 64}} }
