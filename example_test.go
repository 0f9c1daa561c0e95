package slipway_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/slipway-oci/slipway"
)

// A registry inside a test: here with the client of go-containerregistry, but
// any client that is given the address will do. In a test, t.TempDir() and
// t.Cleanup take the place of what surrounds it here.
func Example() {
	dir, err := os.MkdirTemp("", "registry")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	registry, err := slipway.Open(dir, slipway.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer registry.Close()
	server := httptest.NewServer(registry)
	defer server.Close()

	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/team/app:v1")
	if err != nil {
		log.Fatal(err)
	}
	image, err := random.Image(1024, 3) // three layers
	if err != nil {
		log.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		log.Fatal(err)
	}
	pulled, err := remote.Image(ref)
	if err != nil {
		log.Fatal(err)
	}
	layers, err := pulled.Layers()
	if err != nil {
		log.Fatal(err)
	}
	tags, err := remote.List(ref.Context())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(layers), "layers, tags", tags)
	// Output: 3 layers, tags [v1]
}
