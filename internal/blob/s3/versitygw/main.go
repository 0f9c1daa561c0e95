// Command versitygw runs an S3 gateway on a folder, for tests and for trying
// things on one machine. It is a module of its own, so that the gateway's
// dependencies are none of Slipway's.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("versitygw: ")
	dir := flag.String("dir", "", "folder for the buckets, on a file system with extended attributes")
	listen := flag.String("listen", "127.0.0.1:7070", "address to serve S3 on")
	access := flag.String("access", "", "access key id; also the id of the buckets' owner")
	secret := flag.String("secret", "", "secret access key")
	region := flag.String("region", "us-east-1", "region of the signatures")
	child := flag.Bool("child", false, "end when standard input does, so as not to outlive the parent")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *child {
		go func() {
			io.Copy(io.Discard, os.Stdin) // what ends it does not matter
			stop()
		}()
	}
	if err := run(ctx, *dir, &embedgw.Config{
		RootUserAccess:    *access,
		RootUserSecret:    *secret,
		Region:            *region,
		Ports:             []string{*listen},
		MaxConnections:    4096,
		MaxRequests:       4096,
		MultipartMaxParts: 10000,
		KeepAlive:         true,
		Quiet:             true,
	}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string, config *embedgw.Config) error {
	if err := (meta.XattrMeta{}).Test(dir); err != nil {
		return fmt.Errorf("extended attributes in %s: %w", dir, err)
	}
	be, err := posix.New(dir, meta.XattrMeta{}, posix.PosixOpts{
		// Zero would refuse every copy.
		CopyObjectThreshold: 5 << 30,
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	// RunVersityGW closes the backend.
	return embedgw.RunVersityGW(ctx, be, config)
}
