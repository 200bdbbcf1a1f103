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

// resealing is the reseal command at work.
type resealing struct {
	f       *flags
	newKey  string
	dropOld bool
}

func newReseal(f *flags) *cobra.Command {
	r := &resealing{f: f}
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "seal the stored logins with another key",
		Long: `Seal all stored logins again with the first key given by --seal, or with the newest key of the keyring
(--store keyring, --seal keyring). The other keys open the logins that they have sealed; afterwards they
can be removed: those of the keyring with --drop-old-keys, if nothing else is sealed with them and no
program is running that was started before the new key was made. With --seal-plain, logins that are not
sealed yet are sealed too. --new-key makes a key file, or adds a new first key to the keyring, and does
nothing else.`,
		Example: `  mcpoauth reseal --new-key ~/mcpoauth.key
  mcpoauth reseal --seal file:~/mcpoauth.key --seal-plain
  mcpoauth reseal --seal file:new.key --seal file:old.key
  mcpoauth reseal --new-key keyring
  mcpoauth reseal --store keyring --drop-old-keys`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&r.newKey, "new-key", "", "make a new key in this `FILE`, or in the keyring (keyring)")
	cmd.Flags().BoolVar(&r.dropOld, "drop-old-keys", false, "then keep only the newest key in the keyring")
	f.addStore(cmd)
	run := f.runLimited(r.reseal)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case r.newKey == "":
			return run(cmd, args)
		case r.dropOld:
			return &usageError{"--new-key and --drop-old-keys exclude each other", "make the new key first, and drop the old ones once everything is sealed with it"}
		}
		return r.makeKey(cmd.Context())
	}
	return cmd
}

// makeKey makes a new key, in a file or in the keyring.
func (r *resealing) makeKey(ctx context.Context) error {
	u := r.f.u
	if r.newKey != sealKeyring {
		if err := sealed.CreateKeyFile(r.newKey); err != nil {
			return &usageError{trimPrefix(err), "name a file that does not exist yet, in a directory of yours"}
		}
		u.say("%s contains a new key; keep a copy, the logins that it seals cannot be opened without it", quote(r.newKey))
		return nil
	}
	k, err := keyringstore.New(nil)
	if err != nil {
		return newFailed(err)
	}
	if err := k.NewKey(ctx); err != nil {
		return withHint(err, "mcpoauth reseal --store keyring --drop-old-keys")
	}
	u.say("the keyring has a new key; seal the stored logins with it: mcpoauth reseal --store keyring")
	return nil
}

// reseal seals all records with the first key.
func (r *resealing) reseal(ctx context.Context, _ *cobra.Command, _ []string, o *mcpoauth.Options) error {
	s, ok := o.Store.(interface {
		Reseal(ctx context.Context) (int, error)
	})
	if !ok {
		return &usageError{"logins are not sealed: neither --seal nor --store keyring is given", "as in --seal file:PATH"}
	}
	if _, ok := o.Store.(*keyringstore.Store); !ok && r.dropOld && !slices.Contains(r.f.seal, sealKeyring) {
		return &usageError{"--drop-old-keys is for the keys of the keyring", "give --store keyring or --seal keyring; in a key file, delete all keys but the first"}
	}
	n, err := s.Reseal(ctx)
	if n > 0 || err == nil {
		r.f.u.say("%s sealed with the first key", count(n, "record"))
	}
	if errors.Is(err, sealed.ErrNotSealed) {
		return withHint(err, "--seal-plain seals it")
	}
	_, lost := errors.AsType[*keyringstore.KeyLostError](err)
	if _, otherKey := errors.AsType[*sealed.KeyError](err); otherKey && !lost {
		return withHint(err, "add the key it was sealed with: a second --seal")
	}
	if err != nil || !r.dropOld {
		return err
	}
	return r.dropOldKeys(ctx, o)
}

// dropOldKeys leaves only the newest key in the keyring.
func (r *resealing) dropOldKeys(ctx context.Context, o *mcpoauth.Options) error {
	k, err := keyringstore.New(nil)
	if err != nil {
		return newFailed(err)
	}
	keys := r.f.keyringKeys
	if s, ok := o.Store.(*keyringstore.Store); ok {
		if keys, err = s.Keys(ctx); err != nil {
			return err
		}
	}
	if err := k.DropOldKeys(ctx, keys[0]); err != nil {
		return err
	}
	r.f.u.say("only the newest key is left in the keyring")
	return nil
}
