package conformance_test

import (
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-oci/slipway/internal/blob/disk"
	"github.com/slipway-oci/slipway/internal/conformance"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
	"github.com/slipway-oci/slipway/internal/registry"
)

// serve starts a registry on the embedded engines and returns its host:port.
func serve(t *testing.T, change func(*registry.Config)) string {
	t.Helper()
	dir := t.TempDir()
	tab, err := bolt.Open(filepath.Join(dir, "meta.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	blobs, err := disk.Open(filepath.Join(dir, "blobs"), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	config := registry.Config{
		Meta:       meta.New(tab, meta.Options{}),
		Blobs:      blobs,
		UploadKeys: [][]byte{bytes.Repeat([]byte("k"), registry.MinUploadKey)},
	}
	if change != nil {
		change(&config)
	}
	h, err := registry.New(config)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the OCI conformance suite")
	}
	program, err := conformance.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		version string
		env     map[string]string
		change  func(*registry.Config)
		skips   bool // skipped tests are accepted
	}{
		{name: "1.1", version: "1.1"},
		{name: "dev", version: "dev", skips: true},
		{
			name: "sparse", version: "1.1",
			env:    map[string]string{"OCI_DATA_SPARSE": "true"},
			change: func(c *registry.Config) { c.AllowMissing = true },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			result, err := conformance.Run(t.Context(), conformance.Options{
				Program:  program,
				Registry: serve(t, tt.change),
				Version:  tt.version,
				Results:  t.TempDir(),
				Env:      tt.env,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("OCI conformance %s: %s", tt.name, result)
			for _, f := range result.Failures {
				t.Errorf("%s: %s", f.Name, f.Reason)
			}
			if result.Errors > 0 || result.Passed == 0 {
				t.Errorf("want nothing failed, got %s", result)
			}
			if result.Skipped > 0 {
				t.Logf("skipped or disabled: %s", strings.Join(result.Skips, "\n\t"))
				if !tt.skips {
					t.Errorf("want nothing skipped, got %s", result)
				}
			}
		})
	}
}
