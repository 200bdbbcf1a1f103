package mcpoauth

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cooldown{pauses: &pauses{time.Second, 10 * time.Second}}
		if c.Wait() != 0 {
			t.Error("it begins with a pause")
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			if got := c.Fail(0); got != want*time.Second || c.Wait() != got {
				t.Errorf("a pause of %v, want %vs; wait %v", got, int(want), c.Wait())
			}
		}
		time.Sleep(9 * time.Second)
		if c.Wait() != time.Second {
			t.Errorf("wait %v after nine seconds", c.Wait())
		}
		if got := c.Fail(time.Minute); got != time.Minute || c.Wait() != time.Minute {
			t.Errorf("the server asked for a minute: %v", got)
		}
		c.Reset()
		if c.Wait() != 0 || c.Fail(0) != time.Second {
			t.Error("a reset does not begin anew")
		}
		for range 100 { // it must not overflow
			if got := c.Fail(0); got <= 0 || got > 10*time.Second {
				t.Fatalf("a pause of %v", got)
			}
		}
	})
}
