package demo

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out strings.Builder
	if err := Run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	steps := len((&demo{}).steps())
	if got := strings.Count(out.String(), "✓"); got != steps {
		t.Errorf("%d of %d steps:\n%s", got, steps, &out)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("the demo left %v, %v", left, err)
	}
}

func TestRunTellsWhatFailed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	err := Run(ctx, &out)
	if err == nil || !strings.HasPrefix(err.Error(), "demo: push it") || !strings.Contains(out.String(), "✗ push it") {
		t.Errorf("error %v after\n%s", err, &out)
	}
}
