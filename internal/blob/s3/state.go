package s3

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

const stateVersion = 1

var errState = errors.New("malformed upload state")

// running is the decoded state of an upload. Its bytes are, in this order, in
// the parts, the tails and inline.
type running struct {
	hash     *blob.Hasher // over all bytes, with the upload's algorithm
	uploadID string       // of the multipart upload; "" if there are no parts
	parts    []part       // part n of S3 is parts[n-1]
	tails    []tail
	inline   []byte
	rest     *blob.Hasher // SHA-256 over tails and inline: the next part's checksum
	spent    []tailID     // tails that older states still name, oldest first
}

// part is a part that S3 has, and whose checksum it has verified.
type part struct {
	size int64
	sum  sum
	etag string // without quotes
}

type tail struct {
	id   tailID
	size int64
}

// tailed is how many bytes the tails have.
func (r *running) tailed() (n int64) {
	for _, t := range r.tails {
		n += t.size
	}
	return n
}

func (r *running) pending() int64 { return r.tailed() + int64(len(r.inline)) }

func (r *running) size() int64 {
	n := r.pending()
	for _, p := range r.parts {
		n += p.size
	}
	return n
}

func (r *running) restSum() sum { return sum(r.rest.Sum(nil)) }

// fold says that the pending bytes are elsewhere now, in a part or another tail.
func (r *running) fold() error {
	for _, t := range r.tails {
		r.spent = append(r.spent, t.id)
	}
	r.tails, r.inline = nil, nil
	var err error
	r.rest, err = blob.NewHasher(digest.SHA256)
	return err
}

// resume decodes what an upload carries.
func resume(up blob.Upload) (*running, error) {
	if up.Size == 0 && len(up.State) == 0 {
		r := new(running)
		var err error
		if r.hash, err = blob.NewHasher(up.Algorithm); err != nil {
			return nil, err
		}
		return r, r.fold()
	}
	r, size, err := decode(up)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	// A size that is not the hash's would let Complete accept other bytes.
	if size != up.Size || r.size() != up.Size {
		return nil, fmt.Errorf("%w: of %d bytes, with %d in its parts; the upload has %d", errState, size, r.size(), up.Size)
	}
	if len(r.parts) > 0 && r.uploadID == "" {
		return nil, fmt.Errorf("%w: parts of no multipart upload", errState)
	}
	return r, nil
}

// advance returns the upload as r has it. A part costs about 55 bytes: 50 GiB
// are about 90 KB.
func advance(up blob.Upload, r *running) (blob.Upload, error) {
	b := make([]byte, 0, 512+len(r.inline)+56*len(r.parts))
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, uint64(r.size()))
	for _, h := range []*blob.Hasher{r.hash, r.rest} {
		state, err := h.Save(nil)
		if err != nil {
			return blob.Upload{}, err
		}
		b = appendBytes(b, state)
	}
	b = appendBytes(b, []byte(r.uploadID))
	b = binary.AppendUvarint(b, uint64(len(r.parts)))
	for _, p := range r.parts {
		b = binary.AppendUvarint(b, uint64(p.size))
		b = append(b, p.sum[:]...)
		b = appendBytes(b, packETag(p.etag))
	}
	b = binary.AppendUvarint(b, uint64(len(r.tails)))
	for _, t := range r.tails {
		b = append(b, t.id[:]...)
		b = binary.AppendUvarint(b, uint64(t.size))
	}
	b = binary.AppendUvarint(b, uint64(len(r.spent)))
	for _, id := range r.spent {
		b = append(b, id[:]...)
	}
	b = appendBytes(b, r.inline)
	up.Size, up.State = r.size(), b
	return up, nil
}

func decode(up blob.Upload) (*running, int64, error) {
	c := &cursor{b: up.State}
	if v := c.take(1); c.err == nil && v[0] != stateVersion {
		return nil, 0, fmt.Errorf("version %d", v[0])
	}
	r := new(running)
	size := c.length()
	var err error
	if r.hash, err = blob.RestoreHasher(up.Algorithm, c.bytes()); err != nil {
		return nil, 0, err
	}
	if r.rest, err = blob.RestoreHasher(digest.SHA256, c.bytes()); err != nil {
		return nil, 0, err
	}
	r.uploadID = string(c.bytes())
	for range c.count() {
		p := part{size: c.length()}
		copy(p.sum[:], c.take(len(p.sum)))
		p.etag = unpackETag(c.bytes())
		r.parts = append(r.parts, p)
	}
	for range c.count() {
		var t tail
		copy(t.id[:], c.take(len(t.id)))
		t.size = c.length()
		r.tails = append(r.tails, t)
	}
	for range c.count() {
		var id tailID
		copy(id[:], c.take(len(id)))
		r.spent = append(r.spent, id)
	}
	r.inline = slices.Clone(c.bytes())
	if c.err == nil && len(c.b) > 0 {
		c.err = errors.New("too long")
	}
	return r, size, c.err
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// packETag halves the ETag of a part, which is 32 hexadecimal digits on S3.
func packETag(etag string) []byte {
	if raw, err := hex.DecodeString(etag); err == nil && len(raw) == 16 && strings.ToLower(etag) == etag {
		return append([]byte{0}, raw...)
	}
	return append([]byte{1}, etag...)
}

func unpackETag(b []byte) string {
	switch {
	case len(b) == 0:
		return ""
	case b[0] == 0:
		return hex.EncodeToString(b[1:])
	}
	return string(b[1:])
}

// cursor reads what advance wrote. After the first error all it returns is zero.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err == nil && n > len(c.b) {
		c.err = errors.New("too short")
	}
	if c.err != nil {
		return nil
	}
	var b []byte
	b, c.b = c.b[:n], c.b[n:]
	return b
}

func (c *cursor) length() int64 {
	n, k := binary.Uvarint(c.b)
	if c.err == nil && (k <= 0 || n > 1<<60) {
		c.err = errors.New("malformed number")
	}
	if c.err != nil {
		return 0
	}
	c.b = c.b[k:]
	return int64(n)
}

// count is a number of things of at least one byte each.
func (c *cursor) count() int {
	n := c.length()
	if c.err == nil && n > int64(len(c.b)) {
		c.err = errors.New("too short")
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *cursor) bytes() []byte { return c.take(c.count()) }
