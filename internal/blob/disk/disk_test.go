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

func TestContract(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return open(t, t.TempDir(), disk.Options{})
	}, suite)
}

func TestContractDurable(t *testing.T) {
	// Verified by the crash test with syncing; here it would only cost time.
	opts := disk.Options{NoSync: true}
	blobtest.RunDurable(t, func(t *testing.T, dir string) blob.Store {
		return open(t, dir, opts)
	}, suite)
}

func TestContractHooked(t *testing.T) {
	var c blob.Counter
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return blob.WithHook(open(t, t.TempDir(), disk.Options{NoSync: true}), c.Hook())
	}, suite)
}
