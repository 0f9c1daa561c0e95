package disk_test

import (
	"testing"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/blobtest"
	"github.com/slipway-oci/slipway/internal/blob/disk"
)

// suite names the sizes of the write buffer and of the write-back steps.
var suite = blobtest.Options{Boundaries: []int{512 << 10, 8 << 20}}

func open(t *testing.T, dir string, opts disk.Options) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestContract syncs, and goes through a decorator, which must change nothing.
func TestContract(t *testing.T) {
	var c blob.Counter
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return blob.WithHook(open(t, t.TempDir(), disk.Options{}), c.Hook())
	}, suite)
}

// TestContractDurable does not sync: no power fails here.
func TestContractDurable(t *testing.T) {
	opts := disk.Options{NoSync: true}
	blobtest.RunDurable(t, func(t *testing.T, dir string) blob.Store {
		return open(t, dir, opts)
	}, suite)
}
