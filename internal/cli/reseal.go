package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/keyringstore"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

func newReseal(f *flags) *cobra.Command {
	var newKey string
	var drop bool
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "seal the stored logins with another key",
		Long: `Seal all stored logins again with the first key that --seal gives, or with the newest of the keyring
(--store keyring, --seal keyring). The keys after it open what they have sealed; once this is done they
can be dropped: those of the keyring with --drop-old-keys, when nothing else is sealed with them and no
program runs that has begun before there was a new one. With --seal-plain what is not sealed yet is
sealed too. --new-key makes a key file, or puts a new key before those of the keyring, and does nothing
else.`,
		Example: `  mcpoauth reseal --new-key ~/mcpoauth.key
  mcpoauth reseal --seal file:~/mcpoauth.key --seal-plain
  mcpoauth reseal --seal file:new.key --seal file:old.key
  mcpoauth reseal --new-key keyring
  mcpoauth reseal --store keyring --drop-old-keys`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&newKey, "new-key", "", "make a `FILE` with a new key, or one in the keyring (keyring)")
	cmd.Flags().BoolVar(&drop, "drop-old-keys", false, "then leave only the newest key in the keyring")
	f.addStore(cmd)
	run := f.run(true, func(ctx context.Context, _ *cobra.Command, _ []string, o *mcpoauth.Options) error {
		s, ok := o.Store.(interface {
			Reseal(ctx context.Context) (int, error)
		})
		if !ok {
			return &usageError{"there is no seal: neither --seal nor --store keyring is given", "as in --seal file:PATH"}
		}
		if _, ok := o.Store.(*keyringstore.Store); !ok && drop && !slices.Contains(f.seal, sealKeyring) {
			return &usageError{"--drop-old-keys is for the keys of the keyring", "give --store keyring or --seal keyring; from a file of keys delete all but the first"}
		}
		n, err := s.Reseal(ctx)
		if n > 0 || err == nil {
			f.u.say("%s sealed with the first key", count(n, "record"))
		}
		var key *sealed.KeyError
		if errors.Is(err, sealed.ErrNotSealed) {
			return withHint(err, "--seal-plain seals it")
		}
		var lost *keyringstore.KeyLostError
		if errors.As(err, &key) && !errors.As(err, &lost) {
			return withHint(err, "add the key it was sealed with: a second --seal")
		}
		if err != nil || !drop {
			return err
		}
		k, err := keyringstore.New(nil)
		if err != nil {
			return newFailed(err)
		}
		keys := f.keyringKeys
		if s, ok := o.Store.(*keyringstore.Store); ok {
			if keys, err = s.Keys(ctx); err != nil {
				return err
			}
		}
		if err := k.DropOldKeys(ctx, keys[0]); err != nil {
			return err
		}
		f.u.say("the keyring has only the newest key now")
		return nil
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if drop && newKey != "" {
			return &usageError{"--new-key and --drop-old-keys exclude each other", "make the new key first, and drop the old ones once all is sealed with it"}
		}
		switch newKey {
		case "":
			return run(cmd, args)
		case sealKeyring:
			k, err := keyringstore.New(nil)
			if err != nil {
				return newFailed(err)
			}
			if err := k.NewKey(cmd.Context()); err != nil {
				return withHint(err, "mcpoauth reseal --store keyring --drop-old-keys")
			}
			f.u.say("the keyring has a new key; move what the others have sealed to it with: mcpoauth reseal --store keyring")
			return nil
		}
		if err := sealed.CreateKeyFile(newKey); err != nil {
			return &usageError{trimPrefix(err), "name a file that does not exist yet, in a directory of yours"}
		}
		f.u.say("%s holds a new key; keep a copy, without it what it seals is lost", quote(newKey))
		return nil
	}
	return cmd
}
