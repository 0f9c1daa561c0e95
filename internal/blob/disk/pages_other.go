//go:build !linux

package disk

import "os"

// dropCache does nothing where there is no such call; after a crash of the
// machine the cache is empty anyway.
func dropCache(*os.File) {}

// startWriteBack does nothing where there is no such call: the fsync does all.
func startWriteBack(_ *os.File, _, _ int64) {}
