// Package durable makes folders so that a crash of the machine does not take
// them back, with all that is in them: a file system promises a new entry only
// once the folder that it is in was synced, however often the file was.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// MakeDir makes a folder, readable by its owner only, and those above it that
// are not there. When it returns, each of them is durable in its parent; so
// nothing is to be opened in it before. The folder that was there already is
// made durable, too: the run that made it may have been killed before its sync.
//
// sync is (*os.File).Sync, or what a test puts there.
func MakeDir(dir string, sync func(*os.File) error) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", dir)
		}
		err := syncDir(filepath.Dir(dir), sync)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
			return nil // the parent is another's, who made the folder in it, or cannot be synced
		}
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := MakeDir(parent, sync); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent, sync)
}

// SyncDir makes the entries of a folder durable.
func SyncDir(dir string) error { return syncDir(dir, (*os.File).Sync) }

func syncDir(dir string, sync func(*os.File) error) error {
	if runtime.GOOS == "windows" {
		return nil // has no such call, and needs none
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // opened for reading: nothing to lose
	return sync(d)
}
