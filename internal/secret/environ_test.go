package secret_test

import (
	"slices"
	"testing"

	"github.com/mcpoauth/mcpoauth/internal/secret"
)

func TestEnviron(t *testing.T) {
	t.Parallel()
	env := []string{"A=1", "MCPOAUTH_DIR=/x", "Mcpoauth_Token=SECRET", "MCPOAUTHX=2", "=C:=C:\\", "MCPOAUTH_=", "B=MCPOAUTH_DIR", "SECRET=s", "Secret2=s", "SECRET22=s"}
	got := secret.Environ(env, []string{"SECRET", "secret2", ""})
	if want := []string{"A=1", "MCPOAUTHX=2", "=C:=C:\\", "B=MCPOAUTH_DIR", "SECRET22=s"}; !slices.Equal(got, want) {
		t.Errorf("the environment is %q, want %q", got, want)
	}
}
