package demo

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The image of the demo: small, but with several layers, as real ones have.
const (
	layers     = 3
	layerBytes = 1 << 20
)

var platforms = []string{"linux/amd64", "linux/arm64"}

// documentType is the media type of what the demo attaches to the image.
const documentType = "application/vnd.slipway.demo.note+json"

// defaultGrace is the model's own; the demo's registry runs with it.
const defaultGrace = 6 * time.Hour

// buildIndex returns a multi-arch image of random layers and their size.
func buildIndex() (index v1.ImageIndex, size int64, err error) {
	index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			return nil, 0, err
		}
		img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
		img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
		for range layers {
			layer, err := random.Layer(layerBytes, types.OCILayer)
			if err != nil {
				return nil, 0, err
			}
			n, err := layer.Size()
			if err != nil {
				return nil, 0, err
			}
			size += n
			if img, err = mutate.AppendLayers(img, layer); err != nil {
				return nil, 0, err
			}
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, 0, err
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = platform.OS, platform.Architecture
		config.Config.Cmd = []string{"/hello"}
		if img, err = mutate.ConfigFile(img, config); err != nil {
			return nil, 0, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        img,
			Descriptor: v1.Descriptor{Platform: platform},
		})
	}
	return index, size, nil
}

// buildDocument returns an artifact whose subject is the image, as a signature
// or a bill of materials would be.
func buildDocument(subject v1.ImageIndex) (v1.Image, error) {
	desc, err := partial.Descriptor(subject)
	if err != nil {
		return nil, err
	}
	doc := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	doc = mutate.ConfigMediaType(doc, documentType)
	doc, err = mutate.AppendLayers(doc, static.NewLayer([]byte(`{"note":"built by the demo"}`), documentType))
	if err != nil {
		return nil, err
	}
	withSubject, ok := mutate.Subject(doc, *desc).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("the artifact for %s is no image", desc.Digest)
	}
	return withSubject, nil
}
