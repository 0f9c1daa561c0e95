package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxAnnotations bounds the annotations of a manifest with a subject, in
	// bytes of JSON: that is how they are repeated in the row of the referrer.
	maxAnnotations = 64 << 10
	// maxDescriptorSize is more than any content has, in bytes.
	maxDescriptorSize = 1 << 50
)

// document is every kind of manifest that is read: their fields do not clash.
type document struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        *ocispec.Descriptor  `json:"config"`
	Layers        []ocispec.Descriptor `json:"layers"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
	Blobs         []ocispec.Descriptor `json:"blobs"`
	Subject       *ocispec.Descriptor  `json:"subject"`
	Annotations   map[string]string    `json:"annotations"`
}

// decoded is what the registry has to know of a manifest.
type decoded struct {
	mediaType string
	// blobs and manifests have to be in the repository, either as one of the
	// two; foreign are layers that may be there.
	blobs, manifests, either, foreign []digest.Digest
	subject                           digest.Digest // "" if none
	artifactType                      string        // as the referrers API shows it
	annotations                       map[string]string
}

// references is how much content the manifest refers to.
func (d *decoded) references() int {
	return len(d.blobs) + len(d.manifests) + len(d.either) + len(d.foreign)
}

// decodeManifest reads a manifest that was sent with the Content-Type and
// checks it. Errors are MANIFEST_INVALID and say what is wrong; the body is
// never changed.
func decodeManifest(contentType string, body []byte, maxReferences int) (decoded, error) {
	if len(body) == 0 {
		return decoded{}, errManifest("the body is empty")
	}
	mediaType, err := manifestType(contentType, body)
	if err != nil {
		return decoded{}, err
	}
	switch kinds[mediaType] {
	case kindUnknown:
		return decoded{mediaType: mediaType}, nil
	case kindSchema1:
		return decoded{}, errManifest("Docker image manifests of schema 1 are not supported: push the image with a client of 2016 or later, or convert it (skopeo copy --format oci)")
	}
	// Before anything is made of it: a descriptor of two bytes takes hundreds in
	// memory.
	names, err := checkStrict(body, maxReferences)
	if err != nil {
		return decoded{}, errManifest("%v", err)
	}
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		return decoded{}, errManifest("%v", err)
	}
	d := decoded{mediaType: mediaType, artifactType: doc.ArtifactType, annotations: doc.Annotations}
	if err := d.read(doc, names); err != nil {
		return decoded{}, errManifest("%v", err)
	}
	if d.references() > maxReferences { // the config is one, too
		return decoded{}, errManifest("%v", errReferences(maxReferences))
	}
	return d, nil
}

// read checks the document as what its media type says it is. A document that
// could be taken for something else too is refused (CVE-2021-41190).
func (d *decoded) read(doc document, names map[string]bool) error {
	var err error
	switch kinds[d.mediaType] {
	case kindImage:
		err = d.readImage(doc, names)
	case kindIndex:
		err = d.readIndex(doc, names)
	case kindArtifact:
		err = d.readArtifact(doc, names)
	}
	if err != nil {
		return err
	}
	if doc.ArtifactType != "" && !validMediaType(doc.ArtifactType) {
		return fmt.Errorf("its artifactType %.100q is no media type", doc.ArtifactType)
	}
	return d.readSubject(doc)
}

func (d *decoded) readImage(doc document, names map[string]bool) error {
	if alien := has(names, "manifests", "blobs", "fsLayers"); len(alien) > 0 {
		return fmt.Errorf("an image has no field %q: is it an index?", alien[0])
	}
	if doc.SchemaVersion != 2 {
		return fmt.Errorf("its schemaVersion is %d, it has to be 2", doc.SchemaVersion)
	}
	if doc.Config == nil {
		return fmt.Errorf("an image needs a config")
	}
	if err := checkDescriptor("config", *doc.Config); err != nil {
		return err
	}
	d.blobs = append(d.blobs, doc.Config.Digest)
	if d.artifactType == "" {
		d.artifactType = doc.Config.MediaType
	}
	return d.readLayers("layers", doc.Layers)
}

func (d *decoded) readArtifact(doc document, names map[string]bool) error {
	if alien := has(names, "manifests", "layers", "config", "fsLayers"); len(alien) > 0 {
		return fmt.Errorf("an artifact manifest has no field %q", alien[0])
	}
	return d.readLayers("blobs", doc.Blobs)
}

func (d *decoded) readIndex(doc document, names map[string]bool) error {
	if alien := has(names, "layers", "config", "blobs", "fsLayers"); len(alien) > 0 {
		return fmt.Errorf("an index has no field %q: is it an image?", alien[0])
	}
	if doc.SchemaVersion != 2 {
		return fmt.Errorf("its schemaVersion is %d, it has to be 2", doc.SchemaVersion)
	}
	for i, child := range doc.Manifests {
		if err := checkDescriptor(fmt.Sprintf("manifests[%d]", i), child); err != nil {
			return err
		}
		if kinds[normal(child.MediaType)] == kindUnknown {
			// BuildKit's cache is an index of layers; others list manifests of
			// types that nobody here knows.
			d.either = append(d.either, child.Digest)
		} else {
			d.manifests = append(d.manifests, child.Digest)
		}
	}
	return nil
}

func (d *decoded) readLayers(field string, layers []ocispec.Descriptor) error {
	for i, layer := range layers {
		if err := checkDescriptor(fmt.Sprintf("%s[%d]", field, i), layer); err != nil {
			return err
		}
		if isForeign(layer) {
			d.foreign = append(d.foreign, layer.Digest)
		} else {
			d.blobs = append(d.blobs, layer.Digest)
		}
	}
	return nil
}

// readSubject takes the subject of OCI's types; Docker's have none.
func (d *decoded) readSubject(doc document) error {
	if doc.Subject == nil || d.mediaType == mediaTypeDocker || d.mediaType == mediaTypeDockerList {
		return nil
	}
	if err := checkDescriptor("subject", *doc.Subject); err != nil {
		return err
	}
	// Measured as they are kept: '<' takes six bytes there.
	kept, err := json.Marshal(doc.Annotations)
	if err != nil {
		return fmt.Errorf("its annotations: %w", err)
	}
	if len(kept) > maxAnnotations {
		return fmt.Errorf("its annotations have %d bytes as JSON, which with a subject may be at most %d: put large values into a layer", len(kept), maxAnnotations)
	}
	d.subject = doc.Subject.Digest
	return nil
}

func isForeign(layer ocispec.Descriptor) bool {
	mediaType := strings.ToLower(layer.MediaType)
	for _, prefix := range foreignLayers {
		if strings.HasPrefix(mediaType, prefix) {
			return true
		}
	}
	return len(layer.URLs) > 0
}

// checkDescriptor checks one descriptor (image-spec, "Content Descriptors").
func checkDescriptor(where string, d ocispec.Descriptor) error {
	if _, err := parseDigest(d.Digest.String()); err != nil {
		return fmt.Errorf("%s: %.200q is no digest that this registry takes: use sha256 or sha512 in lower-case hex", where, d.Digest)
	}
	if d.Size < 0 || d.Size > maxDescriptorSize {
		return fmt.Errorf("%s: a size of %d bytes is not possible", where, d.Size)
	}
	if !validMediaType(d.MediaType) {
		return fmt.Errorf("%s: the mediaType %.100q is no media type", where, d.MediaType)
	}
	if d.Data != nil && (int64(len(d.Data)) != d.Size || d.Digest.Algorithm().FromBytes(d.Data) != d.Digest) {
		return fmt.Errorf("%s: the embedded data does not have the size and digest that stand beside it", where)
	}
	return nil
}

func errReferences(most int) error {
	return fmt.Errorf("it refers to more than the %d pieces of content that this registry takes: split it, for an index into nested ones", most)
}

func errManifest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, CodeManifestInvalid, "the manifest is not valid: %s", fmt.Sprintf(format, args...))
}
