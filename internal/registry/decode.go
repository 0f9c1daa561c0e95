package registry

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of manifests that are not in image-spec's Go package.
const (
	mediaTypeArtifact   = "application/vnd.oci.artifact.manifest.v1+json" // OCI 1.1-rc, deprecated
	mediaTypeDocker     = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeSchema1    = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeSchema1Sig = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// kind is how a manifest is read.
type kind uint8

const (
	kindUnknown  kind = iota // stored as it is, refers to nothing
	kindImage                // config and layers
	kindIndex                // manifests
	kindArtifact             // blobs
	kindSchema1              // refused
)

var kinds = map[string]kind{
	ocispec.MediaTypeImageManifest: kindImage,
	mediaTypeDocker:                kindImage,
	ocispec.MediaTypeImageIndex:    kindIndex,
	mediaTypeDockerList:            kindIndex,
	mediaTypeArtifact:              kindArtifact,
	mediaTypeSchema1:               kindSchema1,
	mediaTypeSchema1Sig:            kindSchema1,
}

// Foreign layers lie elsewhere and are not pushed.
var foreignLayers = []string{
	"application/vnd.oci.image.layer.nondistributable.",
	"application/vnd.docker.image.rootfs.foreign.",
}

const (
	// maxAnnotations bounds the annotations of a manifest with a subject, in
	// bytes: they are repeated in the row of the referrer.
	maxAnnotations = 64 << 10
	// maxDescriptorSize is more than any content has, in bytes.
	maxDescriptorSize = 1 << 50
)

// The grammar of RFC 6838, section 4.2, without parameters.
var mediaTypeGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`)

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
	// blobs and manifests have to be in the repository; foreign are layers that
	// may be.
	blobs, manifests, foreign []digest.Digest
	subject                   digest.Digest // "" if none
	artifactType              string        // as the referrers API shows it
	annotations               map[string]string
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
	names, err := checkStrict(body)
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
	if n := len(d.blobs) + len(d.manifests) + len(d.foreign); n > maxReferences {
		return decoded{}, errManifest("it refers to %d pieces of content, more than the %d that this registry takes: split it, for an index into nested ones", n, maxReferences)
	}
	return d, nil
}

// manifestType finds the media type: that of the Content-Type, without
// parameters, which has to agree with the field mediaType where there is one.
func manifestType(contentType string, body []byte) (string, error) {
	declared := ""
	if contentType != "" {
		base, _, _ := strings.Cut(contentType, ";")
		declared = strings.TrimSpace(base)
		if !mediaTypeGrammar.MatchString(declared) {
			return "", errManifest("the Content-Type %.100q is no media type", contentType)
		}
		// Media types ignore case. One that is known but for its case is not to
		// be stored as an unknown one, without the layers it needs.
		if lower := strings.ToLower(declared); kinds[lower] != kindUnknown {
			declared = lower
		}
	}
	var inside struct {
		MediaType string `json:"mediaType"`
	}
	// What is no JSON has no such field; a manifest of a known type is parsed
	// with more care afterwards.
	_ = json.Unmarshal(body, &inside)
	switch {
	case declared == "" && inside.MediaType == "":
		return "", errManifest("neither the Content-Type header nor the field mediaType says what it is: set the Content-Type")
	case declared == "":
		if !mediaTypeGrammar.MatchString(inside.MediaType) {
			return "", errManifest("its mediaType %.100q is no media type", inside.MediaType)
		}
		return inside.MediaType, nil
	case inside.MediaType != "" && inside.MediaType != declared:
		return "", errManifest("the Content-Type is %q but the field mediaType says %.100q: make them agree", declared, inside.MediaType)
	}
	return declared, nil
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
		if kinds[child.MediaType] == kindUnknown {
			// BuildKit's cache is an index of layers.
			d.blobs = append(d.blobs, child.Digest)
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
	size := 0
	for k, v := range doc.Annotations {
		size += len(k) + len(v)
	}
	if size > maxAnnotations {
		return fmt.Errorf("its annotations have %d bytes, which with a subject may be at most %d: put large values into a layer", size, maxAnnotations)
	}
	d.subject = doc.Subject.Digest
	return nil
}

func isForeign(layer ocispec.Descriptor) bool {
	for _, prefix := range foreignLayers {
		if strings.HasPrefix(layer.MediaType, prefix) {
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

// validMediaType accepts parameters too: oras writes what it is given.
func validMediaType(s string) bool {
	base, params, found := strings.Cut(s, ";")
	if found {
		if _, _, err := mime.ParseMediaType(s); err != nil || len(params) > 255 {
			return false
		}
	}
	return mediaTypeGrammar.MatchString(strings.TrimSpace(base))
}

func errManifest(format string, args ...any) *Error {
	return fail(http.StatusBadRequest, CodeManifestInvalid, "the manifest is not valid: %s", fmt.Sprintf(format, args...))
}
