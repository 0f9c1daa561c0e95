package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCache makes the kernel forget the clean pages of a file, so that the next
// read comes from the disk. It is advice: where it is not taken, the read shows
// what the cache holds.
func dropCache(f *os.File) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	c.Control(func(fd uintptr) { unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) })
}

// startWriteBack makes the kernel begin to write n bytes from the offset to the
// disk, without waiting. It promises nothing and takes no error away from the
// fsync that follows.
func startWriteBack(f *os.File, offset, n int64) {
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	c.Control(func(fd uintptr) { unix.SyncFileRange(int(fd), offset, n, unix.SYNC_FILE_RANGE_WRITE) })
}
