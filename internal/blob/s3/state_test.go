package s3

import (
	"bytes"
	"crypto/sha256"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// full returns a state in which every field has something.
func full(t testing.TB, parts int) (blob.Upload, *running) {
	t.Helper()
	r, err := resume(blob.Upload{Algorithm: digest.SHA256})
	if err != nil {
		t.Fatal(err)
	}
	r.hash.Write([]byte("abc"))
	r.rest.Write([]byte("bc"))
	r.uploadID = strings.Repeat("u", 128)
	for i := range parts {
		etag := "900150983cd24fb0d6963f7d28e17f72"
		if i%2 == 1 {
			etag = "Some-Other-ETag!"
		}
		r.parts = append(r.parts, part{size: int64(i) + 5<<20, sum: sha256.Sum256([]byte{byte(i)}), etag: etag})
	}
	r.tails = []tail{{newTailID(), 70_000}, {newTailID(), 1}}
	r.spent = []tailID{newTailID(), newTailID(), newTailID()}
	r.inline = []byte("inline bytes")
	up, err := advance(blob.Upload{Key: "some-key", Algorithm: digest.SHA256}, r)
	if err != nil {
		t.Fatal(err)
	}
	return up, r
}

func TestState(t *testing.T) {
	up, want := full(t, 3)
	got, err := resume(up)
	if err != nil {
		t.Fatal(err)
	}
	if got.hash.Digest() != want.hash.Digest() || got.rest.Digest() != want.rest.Digest() {
		t.Error("the hashes differ")
	}
	got.hash, got.rest = want.hash, want.rest
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for i := range up.State {
		short := up
		if short.State = up.State[:i]; i == 0 {
			short.State = nil
		}
		if _, err := resume(short); err == nil {
			t.Fatalf("the first %d of %d bytes: no error", i, len(up.State))
		}
	}
	for name, change := range map[string]func(*blob.Upload){
		"another size":      func(u *blob.Upload) { u.Size-- },
		"no size":           func(u *blob.Upload) { u.Size = 0 },
		"another algorithm": func(u *blob.Upload) { u.Algorithm = digest.SHA512 },
		"another version":   func(u *blob.Upload) { u.State[0]++ },
		"more bytes":        func(u *blob.Upload) { u.State = append(u.State, 0) },
		"nothing":           func(u *blob.Upload) { u.State = nil },
	} {
		u := up
		u.State = bytes.Clone(up.State)
		change(&u)
		if _, err := resume(u); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// A row of DynamoDB has 400 KB, and JSON makes 4 bytes of 3.
	up, _ = full(t, 1730)
	if n := len(up.State); n > 100_000 {
		t.Errorf("the state of 50 GiB has %d bytes", n)
	}
}

// FuzzState: a row that somebody changed is an error, never a panic.
func FuzzState(f *testing.F) {
	up, _ := full(f, 2)
	f.Add(up.State, up.Size)
	f.Fuzz(func(t *testing.T, state []byte, size int64) {
		up := blob.Upload{Key: "some-key", Algorithm: digest.SHA256, Size: size, State: state}
		r, err := resume(up)
		if err != nil {
			return
		}
		if again, err := advance(up, r); err != nil || again.Size != size {
			t.Errorf("a state that is accepted: %d bytes, %v", again.Size, err)
		}
	})
}

// TestPartSizes: 50 GiB fit, in one stream and in the chunks of a Lambda.
func TestPartSizes(t *testing.T) {
	s := &Store{opts: Options{PartSize: 8 << 20}}
	var stream, chunks int64
	for n := range maxParts - 1 {
		stream += s.partSize(n)
		chunks += int64(s.leastPart(n))
		if s.partSize(n) > 32<<20 || int64(s.leastPart(n)) > s.partSize(n) {
			t.Fatalf("part %d: %d, at least %d", n, s.partSize(n), s.leastPart(n))
		}
	}
	if stream < 300<<30 || chunks < 180<<30 {
		t.Errorf("a stream takes %d GiB, chunks %d GiB", stream>>30, chunks>>30)
	}
}
