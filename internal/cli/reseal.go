package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/mcpoauth/mcpoauth"
	"github.com/mcpoauth/mcpoauth/store/sealed"
)

func newReseal(f *flags) *cobra.Command {
	var newKey string
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "seal the stored logins with another key",
		Long: `Seal all stored logins again with the first key that --seal gives. The keys after it open what they
have sealed; once this is done they can be dropped. With --seal-plain what is not sealed yet is
sealed too. --new-key makes a key file and does nothing else.`,
		Example: `  mcpoauth reseal --new-key ~/mcpoauth.key
  mcpoauth reseal --seal file:~/mcpoauth.key --seal-plain
  mcpoauth reseal --seal file:new.key --seal file:old.key`,
		Args: noArgs,
	}
	cmd.Flags().StringVar(&newKey, "new-key", "", "make a `FILE` with a new key")
	f.addStore(cmd)
	run := f.run(true, func(ctx context.Context, _ *cobra.Command, _ []string, o *mcpoauth.Options) error {
		s, ok := o.Store.(*sealed.Store)
		if !ok {
			return &usageError{"there is no seal: --seal is not given", "as in --seal file:PATH"}
		}
		n, err := s.Reseal(ctx)
		if n > 0 || err == nil {
			f.u.say("%s sealed with the first key", count(n, "record"))
		}
		var key *sealed.KeyError
		if errors.Is(err, sealed.ErrNotSealed) {
			return withHint(err, "--seal-plain seals it")
		}
		if errors.As(err, &key) {
			return withHint(err, "add the key it was sealed with: a second --seal")
		}
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if newKey == "" {
			return run(cmd, args)
		}
		if err := sealed.CreateKeyFile(newKey); err != nil {
			return &usageError{trimPrefix(err), "name a file that does not exist yet, in a directory of yours"}
		}
		f.u.say("%s holds a new key; keep a copy, without it what it seals is lost", quote(newKey))
		return nil
	}
	return cmd
}
