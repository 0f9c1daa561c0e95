package registry

import (
	"net/http"
	"net/url"
	"regexp"

	// go-digest reports an algorithm as available only where its hash is linked.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
)

// maxName bounds a repository's name, in bytes. Many clients refuse more
// (distribution-spec, "Pulling manifests", implementers note).
const maxName = 255

// The grammar of distribution-spec, "Pulling manifests".
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

func validName(s string) bool { return len(s) <= maxName && nameGrammar.MatchString(s) }
func validTag(s string) bool  { return len(s) <= 128 && tagGrammar.MatchString(s) }

// validUploadID keeps what cannot be an id away from the table's keys.
func validUploadID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// parseDigest accepts sha256 and sha512 in lower-case hex of the exact length,
// and nothing else (image-spec, "Digests"). The error is a DIGEST_INVALID.
func parseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if d.Validate() != nil || (d.Algorithm() != digest.SHA256 && d.Algorithm() != digest.SHA512) {
		return "", fail(http.StatusBadRequest, CodeDigestInvalid,
			"%.200q is no digest that this registry takes: use sha256: and 64 or sha512: and 128 lower-case hex digits", s)
	}
	return d, nil
}

// digestParam reads the query parameter "digest" of a push.
func digestParam(q url.Values) (digest.Digest, error) {
	s := q.Get("digest")
	if s == "" {
		return "", fail(http.StatusBadRequest, CodeDigestInvalid,
			"the digest of the whole blob is missing: append ?digest=<digest> to the upload's Location")
	}
	return parseDigest(s)
}

// reference is a tag or a digest: exactly one is set.
type reference struct {
	tag    string
	digest digest.Digest
}

// parseReference tells a tag from a digest by the colon, which no tag has.
func parseReference(s string) (reference, error) {
	for i := range len(s) {
		if s[i] == ':' {
			d, err := parseDigest(s)
			return reference{digest: d}, err
		}
	}
	if !validTag(s) {
		return reference{}, errTag(s)
	}
	return reference{tag: s}, nil
}

func errName(s string) *Error {
	return fail(http.StatusBadRequest, CodeNameInvalid,
		"%.80q is no repository name: use at most %d lower-case letters, digits, separators (. _ __ -) and slashes, such as team/app", s, maxName)
}

func errTag(s string) *Error {
	return fail(http.StatusBadRequest, CodeTagInvalid,
		"%.80q is no tag: use at most 128 letters, digits, '_', '.' and '-', beginning with none of the last two", s)
}
