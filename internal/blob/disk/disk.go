// Package disk keeps objects of the blob contract as files of one folder.
//
//	dir/            given to Open
//	  3f/           one of 256 shards, made when its first object comes
//	    <key>       the object, under its final name from the first byte on
//
// Nothing is renamed and no folder is ever listed: what a file is worth, the
// rows of the caller say. A file without a row is the rest of an upload.
// Therefore Open, Read and Stat answer for the file of an unfinished upload as
// well; a caller asks only for keys that it has completed.
package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/durable"
)

// shards is the number of folders. Their names are two hexadecimal digits.
const shards = 256

// bufferSize is how many bytes one write takes. Each running Append or
// verification holds one buffer.
const bufferSize = 512 << 10

// writeBackStep is after how many bytes Append has the kernel start writing
// them to the disk, so that Complete of a large object does not wait for all of
// it. Append and Complete of 100 MiB together took a quarter less time by it.
const writeBackStep = 8 << 20

// Options change how a Store works. The zero value is right for production.
type Options struct {
	// NoSync leaves out every fsync: objects are not durable when Complete
	// returns. It is for tests and for registries that are thrown away.
	NoSync bool
}

// Store is the engine. It is safe for concurrent use, and several processes
// may use one folder.
type Store struct {
	dir    string
	sync   func(*os.File) error // makes a file or a folder durable
	noSync bool                 // sync does nothing

	// self names this run of the engine; see state.go. It changes when an
	// fsync fails.
	self atomic.Pointer[instance]
	// rooted says of a shard that its entry in dir is known to be durable.
	rooted [shards]atomic.Bool

	buffers sync.Pool // of *[]byte, bufferSize long
}

var _ blob.Store = (*Store)(nil)

// Open returns the store in the folder, which is made if it is not there, with
// the folders above it. It reads nothing: start-up costs the same for any
// number of objects.
func Open(dir string, opts Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("disk: open store: %w", err)
	}
	s := &Store{
		dir:    dir,
		sync:   (*os.File).Sync,
		noSync: opts.NoSync,
		buffers: sync.Pool{New: func() any {
			b := make([]byte, bufferSize)
			return &b
		}},
	}
	if opts.NoSync {
		s.sync = func(*os.File) error { return nil }
	}
	s.renew()
	if err := durable.MakeDir(dir, s.sync); err != nil {
		return nil, fmt.Errorf("disk: open store: %w", err)
	}
	return s, nil
}

// renew takes a new instance name, which makes all unsynced bytes untrusted.
func (s *Store) renew() {
	var id instance
	rand.Read(id[:]) // never fails
	s.self.Store(&id)
}

// place returns the shard of a key and the path of its file.
func (s *Store) place(key string) (shard int, path string, err error) {
	if err := blob.CheckKey(key); err != nil {
		return 0, "", err
	}
	// A hash, because callers may choose keys that begin or end alike.
	h := fnv.New32a()
	io.WriteString(h, key)
	sum := h.Sum32()
	shard = int((sum ^ sum>>8 ^ sum>>16 ^ sum>>24) % shards)
	return shard, filepath.Join(s.shardPath(shard), key), nil
}

func (s *Store) shardPath(shard int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%02x", shard))
}

// create opens a file for reading and writing and makes it, and its shard, if
// it is not there. It does not make dir: if that is gone, a volume is not
// mounted.
func (s *Store) create(shard int, path string) (*os.File, error) {
	open := func() (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }
	f, err := open()
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	s.rooted[shard].Store(false)
	if err := os.Mkdir(s.shardPath(shard), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return open()
}

// Open answers with the object's *os.File.
func (s *Store) Open(ctx context.Context, key string, _ blob.Access) (blob.Source, error) {
	f, err := s.open(ctx, key)
	if err != nil {
		return blob.Source{}, fmt.Errorf("disk: open %s: %w", key, err)
	}
	return blob.Source{Content: f}, nil
}

func (s *Store) open(ctx context.Context, key string) (*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, path, err := s.place(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, blob.ErrNotFound
	}
	return f, err
}

// section is a part of a file that closes the file. Its Size is what a Counter
// counts.
type section struct {
	*io.SectionReader
	io.Closer
}

// Read answers with the bytes of the range that exist.
func (s *Store) Read(ctx context.Context, key string, r blob.Range) (io.ReadCloser, error) {
	if r.Offset < 0 {
		return nil, fmt.Errorf("disk: read %s: negative offset %d", key, r.Offset)
	}
	f, err := s.open(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("disk: read %s: %w", key, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("disk: read %s: %w", key, err)
	}
	n := max(info.Size()-r.Offset, 0)
	if r.Length >= 0 {
		n = min(n, r.Length)
	}
	return section{io.NewSectionReader(f, r.Offset, n), f}, nil
}

// Stat returns the size of the object's file.
func (s *Store) Stat(ctx context.Context, key string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("disk: stat %s: %w", key, err)
	}
	_, path, err := s.place(key)
	if err != nil {
		return 0, fmt.Errorf("disk: stat %s: %w", key, err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = blob.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("disk: stat %s: %w", key, err)
	}
	return info.Size(), nil
}

// Delete removes the object's file, durably: the caller forgets the key next,
// and nothing looks for a file that a crash brought back.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.remove(ctx, key); err != nil {
		return fmt.Errorf("disk: delete %s: %w", key, err)
	}
	return nil
}

// Abort removes the upload's file, as Delete does.
func (s *Store) Abort(ctx context.Context, up blob.Upload) error {
	if err := s.remove(ctx, up.Key); err != nil {
		return fmt.Errorf("disk: abort %s: %w", up.Key, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	shard, path, err := s.place(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Also when the file was not there: the try before may have failed here.
	err = s.syncFolder(s.shardPath(shard))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Begin returns an empty upload.
func (s *Store) Begin(key string, algorithm digest.Algorithm) (blob.Upload, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Upload{}, fmt.Errorf("disk: begin %s: %w", key, err)
	}
	if _, err := blob.NewHasher(algorithm); err != nil {
		return blob.Upload{}, fmt.Errorf("disk: begin %s: %w", key, err)
	}
	return blob.Upload{Key: key, Algorithm: algorithm}, nil
}

// Close has nothing to release: no file is open between calls.
func (s *Store) Close() error { return nil }
