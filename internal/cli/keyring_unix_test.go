//go:build unix

package cli

import (
	"strings"
	"testing"

	"github.com/mcpoauth/mcpoauth/authtest"
	"github.com/mcpoauth/mcpoauth/internal/testserver"
)

// TestAKeyringsKeys: logins behind a real keyring, and another store that is sealed with its key, from the first
// key to the next.
func TestAKeyringsKeys(t *testing.T) {
	t.Parallel()
	srv := authtest.New(t, nil)
	home := t.TempDir()
	at := func(begin string, lines ...string) string {
		t.Helper()
		refused := `refused() { if "$@"; then echo "not refused: $*"; exit 9; fi; }`
		cmd := testserver.Desktop(t, home, begin, "sh", "-ec", refused+"\n"+strings.Join(lines, "\n"))
		cmd.Env = append(cmd.Env, "MCP="+srv.MCPURL(), "BROWSER=testbrowser", "MCPOAUTH_DIR="+home+"/logins", "GORACE="+noRaceSleep)
		out, err := testserver.Output(t, cmd)
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return string(out)
	}
	out := at(testserver.UnlockedKeyring,
		`mcpoauth login $MCP --store keyring`,
		`mcpoauth login $MCP --seal keyring`,
		`mcpoauth reseal --new-key keyring`,
		`mcpoauth token $MCP --store keyring`,
		`mcpoauth token $MCP --seal keyring`,
		`mcpoauth reseal --store keyring`,
		`mcpoauth reseal --seal keyring --drop-old-keys`,
		`refused mcpoauth reseal --drop-old-keys`,
		`refused mcpoauth reseal --new-key none --drop-old-keys`,
		`mcpoauth reseal --new-key $HOME/key`,
		`refused mcpoauth reseal --seal file:$HOME/key --drop-old-keys`,
		`mcpoauth reseal --new-key keyring`,
		`mcpoauth reseal --seal keyring`,
		`mcpoauth reseal --store keyring --drop-old-keys`,
		`mcpoauth token $MCP --store keyring`,
		`mcpoauth token $MCP --seal keyring`,
		`refused grep -r access- $MCPOAUTH_DIR`,
	)
	for what, want := range map[string]int{"\naccess-": 4, "2 records sealed with the first key\n": 4, "only the newest key": 2, "neither --seal nor --store keyring": 1, "exclude each other": 1, "for the keys of the keyring": 1} {
		if n := strings.Count("\n"+out, what); n != want {
			t.Errorf("%q comes %d times, want %d:\n%s", what, n, want, out)
		}
	}
	if out := at(testserver.NoKeyring, `refused mcpoauth token $MCP --seal keyring`); !strings.Contains(out, "the system's keyring is not available") {
		t.Errorf("without a keyring:\n%s", out)
	}
}
