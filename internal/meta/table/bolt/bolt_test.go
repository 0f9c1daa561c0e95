package bolt

import (
	"path/filepath"
	"testing"

	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/tabletest"
)

// open opens the table in dir, which the test need not close.
func open(t testing.TB, dir string, opts Options) *Table {
	t.Helper()
	tab, err := Open(filepath.Join(dir, "meta.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tab.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return tab
}

func TestContract(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) table.Table { return open(t, t.TempDir(), Options{}) })
}

func TestContractSmallAndSerial(t *testing.T) {
	tabletest.Run(t, func(t *testing.T) table.Table { return open(t, t.TempDir(), Options{NoSync: true}) },
		tabletest.Options{Small: true, Serial: true})
}

func TestContractDurable(t *testing.T) {
	tabletest.RunDurable(t, func(t *testing.T, dir string) table.Table { return open(t, dir, Options{}) })
}
