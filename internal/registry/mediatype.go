package registry

import (
	"encoding/json"
	"mime"
	"regexp"
	"strings"

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

// Foreign layers lie elsewhere and need not be pushed.
var foreignLayers = []string{
	"application/vnd.oci.image.layer.nondistributable.",
	"application/vnd.docker.image.rootfs.foreign.",
}

// The grammar of RFC 6838, section 4.2, without parameters.
var mediaTypeGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`)

// normal returns a media type as it is compared. They ignore case: one that is
// known but for its case is not to be taken for an unknown one, without the
// content it needs. Unknown ones stay as they are.
func normal(mediaType string) string {
	if lower := strings.ToLower(mediaType); kinds[lower] != kindUnknown {
		return lower
	}
	return mediaType
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
		declared = normal(declared)
	}
	// What is no JSON has no such fields; a manifest of a known type is parsed
	// with more care afterwards.
	var inside label
	_ = json.Unmarshal(body, &inside)
	if inside.isSchema1() {
		return mediaTypeSchema1, nil // whatever it is called
	}
	inner := normal(inside.MediaType)
	switch {
	case declared == "" && inner == "":
		return "", errManifest("neither the Content-Type header nor the field mediaType says what it is: set the Content-Type")
	case declared == "":
		if !mediaTypeGrammar.MatchString(inner) {
			return "", errManifest("its mediaType %.100q is no media type", inner)
		}
		return inner, nil
	case inner != "" && inner != declared:
		return "", errManifest("the Content-Type is %q but the field mediaType says %.100q: make them agree", declared, inside.MediaType)
	}
	return declared, nil
}

// label is what a manifest says it is.
type label struct {
	MediaType     string          `json:"mediaType"`
	SchemaVersion float64         `json:"schemaVersion"`
	FSLayers      present         `json:"fsLayers"`
	History       json.RawMessage `json:"history"`
	Signatures    json.RawMessage `json:"signatures"`
}

// isSchema1 recognises Docker's first schema, which has no mediaType of its own
// and came under many names, "application/json" among them.
func (l label) isSchema1() bool {
	if l.SchemaVersion != 1 {
		return false
	}
	var history []struct {
		V1Compatibility present `json:"v1Compatibility"`
	}
	var signatures []struct {
		Protected present `json:"protected"`
	}
	_ = json.Unmarshal(l.History, &history)
	_ = json.Unmarshal(l.Signatures, &signatures)
	return bool(l.FSLayers) || len(history) > 0 && bool(history[0].V1Compatibility) || len(signatures) > 0 && bool(signatures[0].Protected)
}

// present is true of a field that is there, whatever it holds.
type present bool

// UnmarshalJSON implements json.Unmarshaler.
func (p *present) UnmarshalJSON([]byte) error { *p = true; return nil }

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
