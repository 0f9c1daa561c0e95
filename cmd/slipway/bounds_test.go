package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// A value that would mean something else further down is refused by name, with
// what may be said instead.
func TestBounds(t *testing.T) {
	for _, c := range []struct{ flag, value, bounds string }{
		{"max-uploads", "-1", "from 1 to 100000"},
		{"max-uploads", "0", "from 1 to 100000"},
		{"max-uploads", "100001", "from 1 to 100000"},
		{"max-manifest-size", "0", "from 1KiB to 64MiB"},
		{"max-manifest-size", "1023", "from 1KiB to 64MiB"},
		{"max-manifest-size", "65MiB", "from 1KiB to 64MiB"},
		{"max-manifest-refs", "-1", "from 1 to 2000"},
		{"max-manifest-refs", "0", "from 1 to 2000"},
		{"max-manifest-refs", "5000", "from 1 to 2000"},
		{"upload-age", "0s", "from 1s to 8760h"},
		{"upload-age", "-1h", "from 1s to 8760h"},
		{"upload-idle-timeout", "0s", "from 1s to 24h"},
		{"upload-idle-timeout", "-5s", "from 1s to 24h"},
		{"download-idle-timeout", "0s", "from 1s to 24h"},
		{"grace", "0s", "from 1ms to 8760h"},
		{"grace", "-1ns", "from 1ms to 8760h"},
		{"grace", "100000h", "from 1ms to 8760h"},
		{"sweep-interval", "-1s", "from 0s to 8760h"},
		{"shutdown-timeout", "-1s", "from 0s to 24h"},
	} {
		check := func(how string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), "--"+c.flag+" ") || !strings.Contains(err.Error(), c.bounds) {
				t.Errorf("%s %s %s: %v, want --%s and %s", how, c.flag, c.value, err, c.flag, c.bounds)
			}
		}
		_, err := parse(t, "--"+c.flag+"="+c.value)
		check("flag", err)
		_, err = parse(t, "--config", file(t, "c.yaml", c.flag+": "+c.value+"\n"))
		check("file", err)
		t.Run("environment", func(t *testing.T) {
			t.Setenv("SLIPWAY_"+strings.ToUpper(strings.ReplaceAll(c.flag, "-", "_")), c.value)
			_, err := parse(t)
			check("environment", err)
		})
	}
	var out, errout bytes.Buffer
	if code := run([]string{"gc", "--once", "--grace", "0s"}, &out, &errout); code != 2 || !strings.Contains(errout.String(), "from 1ms to 8760h") {
		t.Errorf("gc --grace 0s: %d %s", code, &errout)
	}
	for _, arg := range []string{
		"--max-uploads=1", "--max-uploads=100000", "--max-manifest-size=1KiB", "--max-manifest-refs=2000", "--upload-age=1s",
		"--upload-idle-timeout=1s", "--grace=1ms", "--sweep-interval=0s", "--shutdown-timeout=0s", "--max-blob-size=0",
	} {
		if _, err := parse(t, arg); err != nil {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for want, v := range map[string]any{
		"24h": 24 * time.Hour, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "20h": 20 * time.Hour, "1m30s": 90 * time.Second,
		"0s": time.Duration(0), "-1h": -time.Hour, "300ms": 300 * time.Millisecond, "5": 5,
		"0": size(0), "1023": size(1023), "64KiB": size(64 << 10), "3GiB": size(3 << 30), "1536MiB": size(3 << 29), "2048TiB": size(1 << 51),
	} {
		if got := plain(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
