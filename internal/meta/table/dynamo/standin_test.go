package dynamo

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// withStandins has to be set in the environment for the tests that start a
// stand-in: they take a minute, and no program uses the engine yet. One that
// cannot be started is a failure then. `make standins` sets it.
const withStandins = "SLIPWAY_STANDINS"

// standin is a program that stands for DynamoDB, started by the first test
// that needs it and ended after the last one.
type standin struct {
	name    string
	command func() (*exec.Cmd, error)
	missing string // what to do where command fails

	once  sync.Once
	cmd   *exec.Cmd
	stdin io.Closer
	url   string
	err   error
}

// moto is a mock of AWS in Python: no ClientRequestToken, no isolation of
// concurrent requests, no race of transactions; each copies its whole table.
var moto = &standin{
	name:    "moto_server",
	missing: "pip install 'moto[server]'",
	command: func() (*exec.Cmd, error) {
		path, err := exec.LookPath("moto_server")
		if err != nil {
			return nil, err
		}
		// The shell ends moto when its standard input does: with the test,
		// however that ends.
		const script = `"$0" -H 127.0.0.1 -p 0 & cat >/dev/null; kill $!; wait`
		return exec.Command("sh", "-c", script, path), nil
	},
}

// minidyn is a mock of DynamoDB in Go: one lock around everything, so its
// transactions race, but of the conditions that fail it names the first only;
// no limits, pages of any size, no ClientRequestToken.
var minidyn = &standin{
	name:    "minidyn",
	missing: "it is built by the go command from the module in minidyn/, with the help of the module proxy",
	command: func() (*exec.Cmd, error) {
		dir, err := os.MkdirTemp("", "slipway-minidyn-")
		if err != nil {
			return nil, err
		}
		bin := filepath.Join(dir, "minidyn")
		build := exec.Command("go", "build", "-o", bin, ".")
		build.Dir = "minidyn"
		build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		return exec.Command(bin), nil
	},
}

func TestMain(m *testing.M) {
	code := m.Run()
	moto.stop()
	minidyn.stop()
	os.Exit(code)
}

// start returns the URL of the stand-in, or skips the test.
func (s *standin) start(t *testing.T) string {
	t.Helper()
	if os.Getenv(withStandins) == "" {
		t.Skipf("NOT TESTED: starts %s; set %s=1", s.name, withStandins)
	}
	s.once.Do(func() { s.url, s.err = s.launch() })
	if s.err != nil {
		t.Fatalf("%s does not start: %v (%s)", s.name, s.err, s.missing)
	}
	return s.url
}

var urlPattern = regexp.MustCompile(`http://[0-9.:]+`)

// launch starts the program, on a port that it chooses, and waits until it
// says which.
func (s *standin) launch() (string, error) {
	cmd, err := s.command()
	if err != nil {
		return "", err
	}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.cmd = cmd
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if url := urlPattern.FindString(lines.Text()); url != "" {
				select {
				case found <- url:
				default: // moto names each request
				}
			}
		}
	}()
	select {
	case url := <-found:
		return url, nil
	case <-time.After(60 * time.Second):
		return "", errors.New("it did not say its URL within a minute")
	}
}

func (s *standin) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.stdin.Close() // ends it
	_ = s.cmd.Wait()
	if dir := filepath.Dir(s.cmd.Path); strings.Contains(dir, "slipway-minidyn-") {
		_ = os.RemoveAll(dir)
	}
}

var tables atomic.Uint64

// quick are retries for stand-ins: as many, but without long pauses.
var quick = Retry{Pause: time.Millisecond, MaxPause: 10 * time.Millisecond}

// newTable makes a table of its own for the test: the price of a transaction
// in moto is the size of its table.
func newTable(t *testing.T, o Options) *Table {
	t.Helper()
	ctx := context.Background()
	o.Region = cmp.Or(o.Region, "us-east-1")
	o.TableName = fmt.Sprintf("slipway-test-%d-%d", os.Getpid(), tables.Add(1))
	tab, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := tab.CreateTable(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := tab.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: tab.name}, func(o *dynamodb.Options) {
			o.HTTPClient = http.DefaultClient // no faults any more
		})
		if err != nil {
			t.Errorf("delete table: %v", err)
		}
		if err := tab.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return tab
}

// environment are the credentials of AWS's usual variables.
func environment() aws.CredentialsProvider {
	c := aws.Credentials{
		AccessKeyID:     os.Getenv("AWS_ACCESS_KEY_ID"),
		SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
	}
	if !c.HasKeys() {
		return nil
	}
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
}
