// Package datadir opens the directory in which a registry on one machine keeps
// everything:
//
//	DIR/meta.db      the metadata table; its lock makes sure that one process has DIR
//	DIR/blobs/       the bytes
//	DIR/upload.key   what signs the Locations of uploads, 32 bytes in hex
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/blob/disk"
	"github.com/slipway-oci/slipway/internal/durable"
	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
)

const (
	tableFile = "meta.db"
	blobsDir  = "blobs"
	keyFile   = "upload.key"

	keyBytes = 32
)

// ErrInUse says that another process has the data directory open.
var ErrInUse = errors.New("the data directory is in use by another process")

// ErrNone says that there is no registry in the directory.
var ErrNone = errors.New("there is no registry in the directory")

// Dir is an open data directory.
type Dir struct {
	Path  string // absolute
	Table table.Table
	Blobs blob.Store
}

// Open opens the data directory, and creates it where it is not there. The
// cost does not depend on what is in it. The error is ErrInUse if another
// process has it.
func Open(dir string) (*Dir, error) { return open(dir, (*os.File).Sync) }

// open is Open; sync makes the entries of a folder durable.
func open(dir string, sync func(*os.File) error) (*Dir, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	// Ahead of everything in it: table and store sync what they make in the
	// directory, not the directory.
	if err := durable.MakeDir(dir, sync); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	t, err := bolt.Open(filepath.Join(dir, tableFile), bolt.Options{})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open data directory %s: %w", dir, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	store, err := disk.Open(filepath.Join(dir, blobsDir), disk.Options{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory: %w", err), t.Close())
	}
	return &Dir{Path: dir, Table: t, Blobs: store}, nil
}

// OpenExisting is Open for a directory that must hold a registry
// already: a mistyped path is to be told, not created.
func OpenExisting(dir string) (*Dir, error) {
	if _, err := os.Stat(filepath.Join(dir, tableFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w %s (looked for %s)", ErrNone, dir, tableFile)
		}
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	return Open(dir)
}

// Close closes store and table.
func (d *Dir) Close() error {
	return errors.Join(d.Blobs.Close(), d.Table.Close())
}

// UploadKey returns the key that signs upload Locations, and makes it at the
// first start. It stays the same afterwards, so that uploads go on across
// restarts.
func (d *Dir) UploadKey() ([]byte, error) {
	path := filepath.Join(d.Path, keyFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read upload key: %w", err)
	}
	key, err := hex.DecodeString(string(trimNewline(raw)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("read upload key: %s does not hold %d bytes in hex; "+
			"remove the file to have a new one made (uploads that are open then have to start again)", path, keyBytes)
	}
	return key, nil
}

// createKey writes a new key beside its place and moves it there when it is
// durable: a crash leaves no key or a whole one. Whoever calls it holds the lock
// of the table, so a file left beside it is from a crash.
func createKey(path string) ([]byte, error) {
	key := make([]byte, keyBytes)
	rand.Read(key) // never fails
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create upload key: %w", err)
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create upload key: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("create upload key: %w", err)
	}
	return key, nil
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}
