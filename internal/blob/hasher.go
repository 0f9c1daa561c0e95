package blob

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"errors"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// ErrAlgorithm says that a digest algorithm is neither sha256 nor sha512.
var ErrAlgorithm = errors.New("blob: digest algorithm is not supported")

// Hasher is a running hash that can be put into Upload.State and taken out
// again by another process, so that an upload goes on without reading again
// what it has. It is for one goroutine at a time.
type Hasher struct {
	hash.Hash
	algorithm digest.Algorithm
}

// NewHasher returns a Hasher that has seen no byte, or ErrAlgorithm.
func NewHasher(algorithm digest.Algorithm) (*Hasher, error) {
	switch algorithm {
	case digest.SHA256:
		return &Hasher{sha256.New(), algorithm}, nil
	case digest.SHA512:
		return &Hasher{sha512.New(), algorithm}, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrAlgorithm, algorithm)
}

// RestoreHasher returns the Hasher whose Save gave the state. It fails if the
// state is of another algorithm or no state at all.
func RestoreHasher(algorithm digest.Algorithm, state []byte) (*Hasher, error) {
	h, err := NewHasher(algorithm)
	if err != nil {
		return nil, err
	}
	if err := h.Hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("blob: restore %s state: %w", algorithm, err)
	}
	return h, nil
}

// Save appends the state to dst and returns it: 108 bytes for sha256, 204 for
// sha512.
func (h *Hasher) Save(dst []byte) ([]byte, error) {
	dst, err := h.Hash.(encoding.BinaryAppender).AppendBinary(dst)
	if err != nil {
		return nil, fmt.Errorf("blob: save %s state: %w", h.algorithm, err)
	}
	return dst, nil
}

// Digest returns the digest of the bytes seen so far; more may follow.
func (h *Hasher) Digest() digest.Digest {
	return digest.NewDigestFromBytes(h.algorithm, h.Sum(nil))
}
