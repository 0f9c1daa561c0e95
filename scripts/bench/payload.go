package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"sort"
	"sync/atomic"
)

// nonceLen is how many bytes at the end of a payload make it unlike any other.
const nonceLen = 16

// payload is a blob to push: a shared random prefix and a few bytes of its own.
//
// The prefix is generated once for the whole run and the state of SHA-256 behind it is kept for every size in use, so
// that a fresh megabyte with a fresh digest costs the driver nothing while the clock runs.
type payload struct {
	prefix []byte
	nonce  [nonceLen]byte
	digest string
}

func (p *payload) size() int64 { return int64(len(p.prefix) + nonceLen) }

func (p *payload) body() io.Reader {
	return io.MultiReader(bytes.NewReader(p.prefix), bytes.NewReader(p.nonce[:]))
}

// payloads makes payloads of a fixed set of sizes.
type payloads struct {
	base   []byte
	states map[int]hash.Cloner // prefix length -> SHA-256 of that prefix
	next   atomic.Uint64
	salt   uint64
}

// newPayloads prepares payloads of the given sizes. Equal seeds give equal bytes, in the order they are asked for.
func newPayloads(seed uint64, sizes []int64) (*payloads, error) {
	sorted := append([]int64(nil), sizes...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	if len(sorted) == 0 || sorted[0] <= nonceLen {
		return nil, fmt.Errorf("payload sizes must be above %d bytes", nonceLen)
	}
	p := &payloads{
		base:   make([]byte, sorted[len(sorted)-1]-nonceLen),
		states: make(map[int]hash.Cloner, len(sorted)),
		salt:   seed,
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	if _, err := rand.NewChaCha8(key).Read(p.base); err != nil {
		return nil, fmt.Errorf("fill payload: %w", err)
	}
	h := sha256.New().(hash.Cloner)
	done := 0
	for _, size := range sorted {
		n := int(size) - nonceLen
		h.Write(p.base[done:n])
		done = n
		c, err := h.Clone()
		if err != nil {
			return nil, fmt.Errorf("keep SHA-256 state: %w", err)
		}
		p.states[n] = c
	}
	return p, nil
}

// fresh returns a payload that nobody has seen, of one of the sizes given to newPayloads.
func (p *payloads) fresh(size int64) *payload {
	n := int(size) - nonceLen
	out := &payload{prefix: p.base[:n]}
	binary.BigEndian.PutUint64(out.nonce[:8], p.salt)
	binary.BigEndian.PutUint64(out.nonce[8:], p.next.Add(1))
	h, err := p.states[n].Clone()
	if err != nil {
		panic("clone of a SHA-256 state failed: " + err.Error()) // it cloned once before
	}
	h.Write(out.nonce[:])
	out.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return out
}

// configPayload returns an image config unlike any other: real JSON, since a registry may look into it.
func (p *payloads) configPayload(layers ...*payload) *payload {
	var b bytes.Buffer
	b.WriteString(`{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","config":{"Env":["PATH=/usr/bin:/bin"],"Cmd":["/app"]},"rootfs":{"type":"layers","diff_ids":[`)
	for i, l := range layers {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q", l.digest)
	}
	fmt.Fprintf(&b, `]},"author":"%020d"}`, p.next.Add(1))
	raw := b.Bytes()
	out := &payload{prefix: raw[:len(raw)-nonceLen], digest: digestOf(raw)}
	copy(out.nonce[:], raw[len(raw)-nonceLen:])
	return out
}

// digestOf returns the digest of a small document.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
