// Package s3test runs an S3 that nobody here wrote, for tests: versitygw, which
// enforces signatures, their expiry, checksums and conditional writes.
//
// The gateway is a program of the module in internal/blob/s3/versitygw, so that
// its dependencies are none of Slipway's. Its first build takes a minute or so.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// What a gateway's credentials are. The access key is also the id of the
// account that owns the buckets, as ExpectedBucketOwner compares it.
const (
	Owner  = "123456789012"
	Secret = "secret-of-the-gateway"
	Region = "us-east-1"
)

// Build compiles the gateway into the folder and returns the program's path. It
// needs the source tree and the go command; the module cache or the module
// proxy has the rest.
func Build(ctx context.Context, dir string) (string, error) {
	_, here, _, _ := runtime.Caller(0)
	bin := filepath.Join(dir, "versitygw")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, ".")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "versitygw")
	// A workspace or a vendor mode of the caller would not know the module.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build versitygw: %w\n%s", err, out)
	}
	return bin, nil
}

// Gateway is one that runs.
type Gateway struct {
	// Endpoint is its URL: http, a loopback address and a free port.
	Endpoint string

	cmd    *exec.Cmd
	stdin  io.Closer
	output bytes.Buffer
	ended  chan error
}

// Start runs the program that Build returned on a folder, which becomes the
// buckets' parent and has to be on a file system with extended attributes. The
// gateway ends with Stop, or with this process.
func Start(ctx context.Context, program, dir string) (*Gateway, error) {
	var err error
	for range 3 { // the free port may be gone when the gateway wants it
		var g *Gateway
		if g, err = start(ctx, program, dir); err == nil {
			return g, nil
		}
	}
	return nil, fmt.Errorf("start versitygw: %w", err)
}

func start(ctx context.Context, program, dir string) (*Gateway, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	g := &Gateway{Endpoint: "http://" + address, ended: make(chan error, 1)}
	g.cmd = exec.Command(program, "-child", "-dir", dir, "-listen", address,
		"-access", Owner, "-secret", Secret, "-region", Region)
	g.cmd.Stdout, g.cmd.Stderr = &g.output, &g.output
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { g.ended <- g.cmd.Wait() }()
	for {
		select {
		case err := <-g.ended:
			return nil, fmt.Errorf("it ended: %v\n%s", err, g.output.Bytes())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), g.Stop())
		case <-time.After(20 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return g, nil
		}
	}
}

// Stop ends the gateway and waits for it.
func (g *Gateway) Stop() error {
	g.stdin.Close() // that is what it ends for
	select {
	case err := <-g.ended:
		return err
	case <-time.After(10 * time.Second):
		g.cmd.Process.Kill()
		return errors.New("versitygw had to be killed")
	}
}

// Client returns a client of the gateway. transport may be nil.
func (g *Gateway) Client(transport http.RoundTripper) *s3.Client {
	return s3.New(s3.Options{
		Region:       Region,
		BaseEndpoint: aws.String(g.Endpoint),
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(Owner, Secret, ""),
		HTTPClient:   &http.Client{Transport: transport},
	})
}

// Bucket makes a bucket.
func (g *Gateway) Bucket(ctx context.Context, name string) error {
	if _, err := g.Client(nil).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	return nil
}
