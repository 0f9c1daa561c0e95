package disk_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/slipway-oci/slipway/internal/blob/disk"
)

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// BenchmarkPush appends, completes and deletes objects of one size; the
// deletion is not measured. RunParallel's -cpu gives the number of writers.
func BenchmarkPush(b *testing.B) {
	for _, size := range []int{1 << 20, 100 << 20} {
		for _, durable := range []bool{true, false} {
			for _, writers := range []int{1, 4} {
				b.Run(fmt.Sprintf("%dMiB/durable=%v/writers=%d", size>>20, durable, writers), func(b *testing.B) {
					push(b, size, writers, disk.Options{NoSync: !durable})
				})
			}
		}
	}
}

func push(b *testing.B, size, writers int, opts disk.Options) {
	s, err := disk.Open(b.TempDir(), opts)
	if err != nil {
		b.Fatal(err)
	}
	body := noise(size)
	want := digest.FromBytes(body)
	ctx := context.Background()
	var next atomic.Int64
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan error, writers)
	for range writers {
		go func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					done <- nil
					return
				}
				// Reusing few keys would measure overwriting.
				up, err := s.Begin(fmt.Sprintf("benchmark-%d", i), digest.SHA256)
				if err == nil {
					up, err = s.Append(ctx, up, bytes.NewReader(body), 1<<40)
				}
				if err == nil {
					err = s.Complete(ctx, up, want)
				}
				if err != nil {
					done <- err
					return
				}
				if size > 10<<20 {
					if err := s.Delete(ctx, up.Key); err != nil {
						done <- err
						return
					}
				}
			}
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend appends one body, from memory and over a loopback connection,
// without making it durable.
func BenchmarkAppend(b *testing.B) {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for _, size := range []int{4 << 10, 1 << 20, 100 << 20} {
			for _, tcp := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%dKiB/tcp=%v", alg, size>>10, tcp), func(b *testing.B) {
					appendOne(b, alg, size, tcp)
				})
			}
		}
	}
}

func appendOne(b *testing.B, alg digest.Algorithm, size int, tcp bool) {
	s, err := disk.Open(b.TempDir(), disk.Options{})
	if err != nil {
		b.Fatal(err)
	}
	body := noise(size)
	var l net.Listener
	if tcp {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write(body)
				c.Close()
			}
		}()
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		// A new key each time: ext4 writes a file that was cut to 0 and filled
		// again to the disk at once.
		up, err := s.Begin(fmt.Sprintf("benchmark-%d", i), alg)
		if err != nil {
			b.Fatal(err)
		}
		if tcp {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			_, err = s.Append(context.Background(), up, c, 1<<40)
			c.Close()
			if err != nil {
				b.Fatal(err)
			}
		} else if _, err := s.Append(context.Background(), up, bytes.NewReader(body), 1<<40); err != nil {
			b.Fatal(err)
		}
		if size > 10<<20 {
			if err := s.Abort(context.Background(), up); err != nil {
				b.Fatal(err)
			}
		}
	}
}
