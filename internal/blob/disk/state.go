package disk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/slipway-oci/slipway/internal/blob"
)

// What Append writes is in the page cache, not on the disk, and the caller's
// row that holds the running hash may well be on the disk before it. After a
// machine crash the two can disagree although the file has its size:
//
//	instance A   Append 6 MB ── row: size 6 MB, hash of 6 MB (durable)
//	             ~~~~~ power fails: the last 2 MB become zeros ~~~~~
//	instance B   Append 1 MB ── row: size 7 MB, hash of 7 MB
//	             Complete: hash = digest, size = 7 MB ... and the bytes are not
//
// So the state names the run of the engine that wrote the bytes. Only while it
// is the same run from the first byte to Complete is the hash taken for the
// file, since then the page cache has not been lost in between. Otherwise
// Complete syncs the file, drops it from the cache and reads all of it again.
//
// A failed fsync is the same danger without a crash: the kernel reports it once
// and takes the pages for clean. The engine then takes a new name, as if it had
// been started again.

// instance names a run of the engine; the zero value is no run.
type instance [16]byte

// The state: version, instance, size that it belongs to, hash state.
const (
	stateVersion = 1
	sizeOffset   = 1 + len(instance{})
	hashOffset   = sizeOffset + 8
)

var errState = errors.New("malformed upload state")

// running is the decoded state of an upload.
type running struct {
	writer instance // wrote every byte; zero if several did
	hash   *blob.Hasher
}

// resume decodes what an upload carries.
func (s *Store) resume(up blob.Upload) (running, error) {
	if up.Size == 0 {
		// Nothing is written yet, so whoever goes on wrote all of it.
		h, err := blob.NewHasher(up.Algorithm)
		return running{*s.self.Load(), h}, err
	}
	b := up.State
	if len(b) < hashOffset || b[0] != stateVersion {
		return running{}, errState
	}
	// A size that is not the hash's would let Complete accept other bytes.
	if size := int64(binary.BigEndian.Uint64(b[sizeOffset:])); size != up.Size || size < 0 {
		return running{}, fmt.Errorf("%w: of %d bytes, the upload has %d", errState, size, up.Size)
	}
	h, err := blob.RestoreHasher(up.Algorithm, b[hashOffset:])
	if err != nil {
		return running{}, fmt.Errorf("%w: %w", errState, err)
	}
	return running{instance(b[1:sizeOffset]), h}, nil
}

// trusted reports whether this run of the engine wrote every byte.
func (s *Store) trusted(r running) bool { return r.writer == *s.self.Load() }

// advance returns the upload with the running hash after size bytes.
func advance(up blob.Upload, r running, size int64) (blob.Upload, error) {
	b := make([]byte, 0, hashOffset+256)
	b = append(b, stateVersion)
	b = append(b, r.writer[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b, err := r.hash.Save(b)
	if err != nil {
		return blob.Upload{}, err
	}
	up.Size, up.State = size, b
	return up, nil
}
