package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The address of an upload is its own right: a 401 in the middle of an upload
// aborts most clients, so whoever was given the Location may write there, and
// nowhere else, until it expires.
//
//	/v2/-/uploads/<id>?repo=team%2Fapp&exp=1764000000&kid=1f2e3d4c&sig=<signature>
//
// It is a path without a host, so it works behind every proxy, and its state
// stands in query parameters of its own, so that clients may sort, re-encode
// and add to them (all add "digest", some "ns"). The signature is
//
//	sig = base64url, unpadded, of HMAC-SHA256(key, canonical)
//
// over these lines joined by "\n", the values as they are after decoding:
//
//	slipway-upload-1
//	<id>
//	<repo>
//	<exp, in Unix seconds>
//	<kid>
//
// kid is the first 8 hex digits of SHA-256(key). TestLocationExample has a
// worked example for whoever writes this down in another language.
const (
	signedPath    = "/v2/-/uploads/"
	signedVersion = "slipway-upload-1"
)

// MinUploadKey is the least length of an upload key, in bytes: that of the hash.
const MinUploadKey = sha256.Size

type uploadKey struct {
	id     string
	secret []byte
}

// signer makes and checks the Locations of uploads.
type signer struct {
	keys []uploadKey // the first signs
}

func newSigner(secrets [][]byte) (signer, error) {
	if len(secrets) == 0 {
		return signer{}, errors.New("at least one key is required")
	}
	var s signer
	for i, secret := range secrets {
		if len(secret) < MinUploadKey {
			return signer{}, fmt.Errorf("key %d has %d bytes, want at least %d", i, len(secret), MinUploadKey)
		}
		sum := sha256.Sum256(secret)
		s.keys = append(s.keys, uploadKey{id: hex.EncodeToString(sum[:4]), secret: secret})
	}
	return s, nil
}

func (k uploadKey) sign(id, repo, expires string) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(strings.Join([]string{signedVersion, id, repo, expires, k.id}, "\n")))
	return mac.Sum(nil)
}

// location returns the address of the upload in the repository.
func (s signer) location(id, repo string, expires time.Time) string {
	key, exp := s.keys[0], strconv.FormatInt(expires.Unix(), 10)
	q := url.Values{
		"repo": {repo},
		"exp":  {exp},
		"kid":  {key.id},
		"sig":  {base64.RawURLEncoding.EncodeToString(key.sign(id, repo, exp))},
	}
	return signedPath + id + "?" + q.Encode()
}

// verify returns the repository that the address of the upload was made for.
func (s signer) verify(id string, q url.Values, now time.Time) (repo string, err error) {
	for _, name := range [...]string{"repo", "exp", "kid", "sig"} {
		if len(q[name]) != 1 {
			// Twice is as bad as never: two readers could take different ones.
			return "", errLocation("the parameter %q has to be there exactly once", name)
		}
	}
	repo, exp := q.Get("repo"), q.Get("exp")
	sig, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("sig"))
	if err != nil {
		return "", errLocation("the signature is no base64url")
	}
	for _, key := range s.keys {
		if key.id != q.Get("kid") {
			continue
		}
		if !hmac.Equal(sig, key.sign(id, repo, exp)) {
			return "", errLocation("the signature does not fit")
		}
		// Signed by us, so what stands there is what we wrote.
		seconds, err := strconv.ParseInt(exp, 10, 64)
		if err != nil || !validName(repo) {
			return "", errLocation("the signed state is malformed")
		}
		if now.After(time.Unix(seconds, 0)) {
			return "", fail(http.StatusNotFound, CodeUploadUnknown,
				"the upload has expired: start again with POST /v2/%s/blobs/uploads/", repo)
		}
		return repo, nil
	}
	return "", errLocation("it was signed with a key that is no longer in use")
}

// errLocation is 403 and not 401: no credentials would help.
func errLocation(format string, args ...any) *Error {
	return fail(http.StatusForbidden, CodeDenied,
		"this upload address is not valid: %s; use the Location of the last answer as it is and only append to it",
		fmt.Sprintf(format, args...))
}
