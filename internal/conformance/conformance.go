// Package conformance runs the OCI conformance suite against a registry.
//
// The suite is a program of the distribution-spec project. The module in the
// folder suite pins its version and checksums, so that its dependencies are
// none of Slipway's.
package conformance

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

const program = "github.com/opencontainers/distribution-spec/conformance"

// Build compiles the pinned suite into the folder and returns the program's
// path. It needs the source tree and the go command; the module cache or the
// module proxy has the rest.
func Build(ctx context.Context, dir string) (string, error) {
	_, here, _, _ := runtime.Caller(0)
	bin := filepath.Join(dir, "conformance")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, program)
	cmd.Dir = filepath.Join(filepath.Dir(here), "suite")
	// A workspace or a vendor mode of the caller would not know the module.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the conformance suite: %w\n%s", err, out)
	}
	return bin, nil
}

// Options say what to test.
type Options struct {
	Program  string            // what Build returned
	Registry string            // host:port, plain HTTP
	Version  string            // "1.1" or "dev"
	Results  string            // folder for the suite's reports
	Env      map[string]string // further OCI_… settings of the suite
}

// Result is what the suite counted.
type Result struct {
	Passed, Failed, Errors, Skipped, Disabled int
	// Failures are the tests that failed.
	Failures []Failure
	// Skips are the names of the tests that were skipped or disabled.
	Skips []string
}

// Failure is a test that failed.
type Failure struct{ Name, Reason string }

func (r Result) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d errors, %d skipped, %d disabled",
		r.Passed, r.Failed, r.Errors, r.Skipped, r.Disabled)
}

// Run runs the suite. A test that fails is part of the Result, not an error.
func Run(ctx context.Context, o Options) (Result, error) {
	cmd := exec.CommandContext(ctx, o.Program)
	cmd.Dir = o.Results // where no configuration file of somebody else lies
	cmd.Env = cleanEnv()
	for _, k := range slices.Sorted(maps.Keys(o.Env)) {
		cmd.Env = append(cmd.Env, k+"="+o.Env[k])
	}
	cmd.Env = append(cmd.Env, "OCI_REGISTRY="+o.Registry, "OCI_TLS=disabled",
		"OCI_VERSION="+o.Version, "OCI_RESULTS_DIR="+o.Results)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, fmt.Errorf("run the conformance suite: %w", err)
	}
	r, err := parse(stdout.String())
	if err == nil {
		err = r.readReport(filepath.Join(o.Results, "junit.xml"))
	}
	if err != nil {
		return Result{}, fmt.Errorf("run the conformance suite: %w\n%s", err, stderr.String())
	}
	return r, nil
}

// cleanEnv keeps settings of the suite that the caller's shell has away from it.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "OCI_") })
}

// countLine is a line of the summary, such as "  Pass.....:        787".
var countLine = regexp.MustCompile(`(?m)^  (Pass|FAIL|Error|Skip|Disabled)\.*: +([0-9]+)$`)

func parse(stdout string) (Result, error) {
	var r Result
	counts := map[string]*int{"Pass": &r.Passed, "FAIL": &r.Failed, "Error": &r.Errors, "Skip": &r.Skipped, "Disabled": &r.Disabled}
	lines := countLine.FindAllStringSubmatch(stdout, -1)
	if len(lines) != len(counts) {
		return r, errors.New("its output has no summary")
	}
	for _, m := range lines {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return r, fmt.Errorf("its summary says %q: %w", m[0], err)
		}
		*counts[m[1]] = n
	}
	return r, nil
}

// readReport takes the names of what did not pass from the JUnit report.
func (r *Result) readReport(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status string `xml:"status,attr"`
				Reason string `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			switch c.Status {
			case "failure", "error":
				r.Failures = append(r.Failures, Failure{c.Name, c.Reason})
			case "skipped":
				r.Skips = append(r.Skips, c.Name)
			}
		}
	}
	return nil
}
