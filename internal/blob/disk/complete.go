package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
)

// Complete verifies and syncs. It reads the file again only if the digest is of
// another algorithm than the upload's, or if another run of the engine wrote a
// part of it (state.go). A file that does not hold what was acknowledged is
// ErrLost, whatever the digest.
//
// Nothing is changed before the bytes are verified: a late Complete with an old
// state of the upload cannot hurt the object.
func (s *Store) Complete(ctx context.Context, up blob.Upload, want digest.Digest) error {
	if err := s.complete(ctx, up, want); err != nil {
		return fmt.Errorf("disk: complete %s: %w", up.Key, err)
	}
	return nil
}

func (s *Store) complete(ctx context.Context, up blob.Upload, want digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := want.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", want, err)
	}
	run, err := s.resume(up)
	if err != nil {
		return err
	}
	if want.Algorithm() == up.Algorithm && run.hash.Digest() != want {
		return blob.ErrDigest
	}
	shard, path, err := s.place(up.Key)
	if err != nil {
		return err
	}
	f, err := s.openWritten(shard, path, up.Size)
	if err != nil {
		return err
	}
	defer f.Close() // what can fail has been synced
	if err := s.settle(ctx, f, up, run, want); err != nil {
		return err
	}
	return s.syncEntry(shard)
}

// openWritten opens the file of an upload that has the size. Only that of an
// empty object may be missing.
func (s *Store) openWritten(shard int, path string, size int64) (*os.File, error) {
	if size == 0 {
		return s.create(shard, path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, blob.ErrLost
	}
	return f, err
}

// settle makes the file hold exactly the upload's bytes, verified and durable.
func (s *Store) settle(ctx context.Context, f *os.File, up blob.Upload, run running, want digest.Digest) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < up.Size {
		return blob.ErrLost
	}
	synced := false
	if !s.trusted(run) {
		// First to the disk and out of the cache: what counts is what the
		// disk gives back.
		if err := s.syncFile(f); err != nil {
			return err
		}
		dropCache(f)
		synced = true
		if err := s.verify(ctx, f, up.Size, run.hash.Digest(), want); err != nil {
			return err
		}
	} else if want.Algorithm() != up.Algorithm {
		if err := s.verify(ctx, f, up.Size, "", want); err != nil {
			return err
		}
	}
	if info.Size() > up.Size {
		if err := f.Truncate(up.Size); err != nil {
			return err
		}
		synced = false
	}
	if synced {
		return nil
	}
	return s.syncFile(f)
}

// verify reads size bytes of the file once and compares them with two digests:
// the one that was acknowledged (or "" if that is beyond doubt) and the wanted.
func (s *Store) verify(ctx context.Context, f *os.File, size int64, acknowledged, want digest.Digest) error {
	wanted, err := blob.NewHasher(want.Algorithm())
	if err != nil {
		return err
	}
	var to io.Writer = wanted
	again := wanted
	if acknowledged != "" && acknowledged.Algorithm() != want.Algorithm() {
		if again, err = blob.NewHasher(acknowledged.Algorithm()); err != nil {
			return err
		}
		to = io.MultiWriter(wanted, again)
	}
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt((*buf)[:min(size-offset, bufferSize)], offset)
		if err == io.EOF && int64(n) < size-offset {
			return blob.ErrLost // cut while we read
		}
		if err != nil && err != io.EOF {
			return err
		}
		to.Write((*buf)[:n])
		offset += int64(n)
	}
	if acknowledged != "" && again.Digest() != acknowledged {
		return blob.ErrLost
	}
	if wanted.Digest() != want {
		return blob.ErrDigest
	}
	return nil
}

// syncFile makes a file's bytes and size durable. If that fails, nobody knows
// which bytes of which file the kernel gave up, so none are trusted any more.
func (s *Store) syncFile(f *os.File) error {
	err := s.sync(f)
	if err != nil {
		s.renew()
	}
	return err
}

// syncEntry makes the name of a file in its shard durable, and the shard in
// dir, of which it is sure only if this process did it before.
func (s *Store) syncEntry(shard int) error {
	if err := s.syncFolder(s.shardPath(shard)); err != nil {
		return err
	}
	if s.rooted[shard].Load() {
		return nil
	}
	if err := s.syncFolder(s.dir); err != nil {
		return err
	}
	s.rooted[shard].Store(true)
	return nil
}

func (s *Store) syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close() // opened for reading: nothing to lose
	return s.sync(d)
}
