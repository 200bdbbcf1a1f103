package sealed

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/mcpoauth/mcpoauth/store"
)

const (
	keySize  = 32
	saltSize = 16
	// maxSalt bounds what is believed of a stored value.
	maxSalt = 64
	// maxKeyFile bounds a key file, bytes.
	maxKeyFile = 64 << 10

	// The cost of a passphrase (RFC 9106 section 4, the second recommended option): 64 MiB, three
	// passes. They belong to the format: other numbers make other keys.
	argonTime    = 3
	argonMemory  = 64 << 10
	argonThreads = 4
)

// Key is a source of a master key: the key itself, or a passphrase. The zero value is not valid. It
// prints redacted.
type Key struct {
	master     *masterKey
	passphrase *phrase
}

// phrase is a passphrase. It prints redacted, as part of a Key.
type phrase struct {
	text string
	// memory is argonMemory, less in tests.
	memory uint32
}

// masterKey is 256 random bits. It prints redacted.
type masterKey struct {
	secret [keySize]byte
}

// NewKey returns the key in secret, which must be 32 random bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) != keySize {
		return Key{}, fmt.Errorf("sealed: a key is %d bytes, not %d", keySize, len(secret))
	}
	if slices.Max(secret) == slices.Min(secret) {
		return Key{}, errors.New("sealed: the key is one byte repeated, not random")
	}
	return Key{master: &masterKey{secret: [keySize]byte(secret)}}, nil
}

// GenerateKey returns a new random key.
func GenerateKey() Key {
	m := &masterKey{}
	_, _ = rand.Read(m.secret[:]) // it never fails
	return Key{master: m}
}

// Passphrase returns the key that Argon2id makes of a passphrase. Making it takes a tenth of a second
// and 64 MiB, once for each salt that the stored values have: one, unless several processes seal the
// first records at once.
func Passphrase(passphrase string) (Key, error) {
	if passphrase == "" {
		return Key{}, errors.New("sealed: the passphrase is empty")
	}
	return Key{passphrase: &phrase{passphrase, argonMemory}}, nil
}

// ParseKeys reads keys in text: base64 of 32 bytes each, separated by white space, the first being the
// one that seals. Text after "#" on a line is a comment.
func ParseKeys(text string) ([]Key, error) {
	var keys []Key
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.Fields(line) {
			k, err := parseKey(word)
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("sealed: there is no key in it")
	}
	return keys, nil
}

// parseKey reads one key.
func parseKey(word string) (Key, error) {
	if _, err := hex.DecodeString(word); err == nil && len(word) == hex.EncodedLen(keySize) {
		// It would be read as base64 of 48 bytes.
		return Key{}, errors.New("sealed: a key is in hex, and must be base64")
	}
	b, err := base64.StdEncoding.DecodeString(word)
	if err != nil {
		return Key{}, errors.New("sealed: a key is not base64")
	}
	return NewKey(b)
}

// Text returns the key in the form that [ParseKeys] reads, secret included. A passphrase has none: "".
func (k Key) Text() string {
	if k.master == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(k.master.secret[:])
}

// KeyEnv reads keys from an environment variable, as [ParseKeys] does.
func KeyEnv(name string) ([]Key, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return nil, fmt.Errorf("sealed: the environment variable %q is not set", name)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%w (environment variable %q)", err, name)
	}
	return keys, nil
}

// KeyFile reads keys from a file, as [ParseKeys] does. A file that others may read or write, or that
// belongs to another user than this one and root, is refused. A symbolic link is followed, since secrets
// are mounted as such (Kubernetes), and the file that it leads to is judged.
func KeyFile(path string) ([]Key, error) {
	f, err := openKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("sealed: the key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("sealed: the key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("sealed: the key file %s is not a regular file", path)
	}
	if err := private(info); err != nil {
		return nil, fmt.Errorf("sealed: the key file %s %w", path, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("sealed: the key file: %w", err)
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("sealed: the key file %s is longer than %d bytes", path, maxKeyFile)
	}
	keys, err := ParseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("%w (key file %s)", err, path)
	}
	return keys, nil
}

// CreateKeyFile makes a key file with one new key, readable by its owner alone. When it returns the file
// survives the machine; if it fails there is none. An existing file is left as it is and is an error: it
// is the only thing that opens what was sealed with it.
func CreateKeyFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // the caller's choice
	if err != nil {
		return fmt.Errorf("sealed: the key file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // half a key is none, and would stand in the way of the next try
			err = fmt.Errorf("sealed: the key file: %w", err)
		}
	}()
	_, err = fmt.Fprintf(f, "# A key of mcpoauth. Without it what it sealed is lost. To change keys put a new one above it.\n%s\n", GenerateKey().Text())
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func (k Key) valid() bool { return k.master != nil || k.passphrase != nil }

// ID returns a short name of the key, from which it cannot be found out.
func (m masterKey) ID() string {
	b, err := hkdf.Key(sha256.New, m.secret[:], nil, "mcpoauth key id", 6)
	if err != nil {
		return "" // it does not happen with these lengths
	}
	return hex.EncodeToString(b)
}

// sealing returns the key that seals, with its salt if it is a passphrase.
func (s *Store) sealing() (masterKey, []byte, error) {
	if s.keys[0].master != nil {
		return *s.keys[0].master, nil, nil
	}
	s.mu.Lock()
	if s.salt == nil {
		s.salt = make([]byte, saltSize)
		_, _ = rand.Read(s.salt) // it never fails
	}
	salt := s.salt
	s.mu.Unlock()
	m, err := s.master(0, salt)
	return m, salt, err
}

// keepSalt makes the salt of a value that the passphrase opened the one that seals: a store then has
// one salt, and a process makes one key.
func (s *Store) keepSalt(i int, salt []byte) {
	if i != 0 || s.keys[0].passphrase == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.salt == nil {
		s.salt = slices.Clone(salt)
	}
}

// learnSalt looks once, before a passphrase seals for the first time, for a value that it sealed before,
// and takes its salt: else every process would bring a salt of its own, and reading the store would cost
// a key for each. A failure costs no more than that.
func (s *Store) learnSalt(ctx context.Context) {
	if s.keys[0].passphrase == nil {
		return
	}
	select {
	case s.learn <- struct{}{}:
		defer func() { <-s.learn }()
	case <-ctx.Done():
		return
	}
	if s.learned || s.hasSalt() {
		return
	}
	s.learned = true
	tries := 0
	for key, err := range s.inner.List(ctx, store.Filter{}) {
		if err == nil {
			var data []byte
			if data, _, err = s.inner.Load(ctx, key); err == nil {
				_, _, err = s.open(key, data)
			}
		}
		if tries++; s.hasSalt() || tries == 10 || err != nil && !ofOneRecord(err) {
			return
		}
	}
}

func (s *Store) hasSalt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.salt != nil
}

// master returns the i-th master key, with salt if it is a passphrase.
func (s *Store) master(i int, salt []byte) (masterKey, error) {
	k := s.keys[i]
	if k.master != nil {
		return *k.master, nil
	}
	if len(salt) > maxSalt {
		return masterKey{}, errors.New("sealed: the salt is too long")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%d %x", i, salt)
	if m, ok := s.made[name]; ok {
		return m, nil
	}
	m := masterKey{[keySize]byte(argon2.IDKey([]byte(k.passphrase.text), salt, argonTime, k.passphrase.memory, argonThreads, keySize))}
	if len(s.made) < 64 {
		s.made[name] = m
	}
	return m, nil
}

const redacted = "[redacted]"

// String returns "[redacted]".
func (k Key) String() string { return redacted }

// GoString returns "[redacted]".
func (k Key) GoString() string { return redacted }

// Format prints "[redacted]" for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "[redacted]": see [Key.Text].
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String returns the key's ID.
func (m masterKey) String() string { return "key " + m.ID() }

// Format prints the key's ID for every verb.
func (m masterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }
