package dynamo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

func TestClassify(t *testing.T) {
	reasons := func(codes ...string) error {
		e := &types.TransactionCanceledException{}
		for _, c := range codes {
			r := types.CancellationReason{}
			if c != "" {
				r.Code = aws.String(c)
			}
			e.CancellationReasons = append(e.CancellationReasons, r)
		}
		return fmt.Errorf("operation error: %w", e)
	}
	code := func(c string) error { return &smithy.GenericAPIError{Code: c} }
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{reasons("TransactionConflict"), refused},
		{reasons("None", "TransactionConflict", ""), refused},
		{reasons("ThrottlingError", "ProvisionedThroughputExceeded"), refused},
		{reasons("TransactionConflict", "ValidationError"), final},
		{reasons("ItemCollectionSizeLimitExceeded"), final},
		{reasons("None", "None"), final},
		{reasons(), final},
		{code("ThrottlingException"), refused},
		{code("ProvisionedThroughputExceededException"), refused},
		{code("TransactionInProgressException"), refused},
		{&types.TransactionConflictException{}, refused},
		{&types.ReplicatedWriteConflictException{}, refused},
		{&types.IdempotentParameterMismatchException{}, final},
		{&types.ResourceNotFoundException{}, final},
		{code("ValidationException"), final},
		{&smithy.DeserializationError{Err: io.ErrUnexpectedEOF}, doubtful},
		{&timeoutError{context.DeadlineExceeded}, doubtful},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, refused},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, doubtful},
		{&smithy.SerializationError{Err: errors.New("no")}, final},
		{errUnprocessed, refused},
		{errors.New("what is this"), final},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

// offline is a table whose every request meets the fault.
func offline(t *testing.T, r Retry, f fault) (*Table, *wire) {
	t.Helper()
	w := newWire()
	w.fault = func(string, int) fault { return f }
	tab, err := Open(context.Background(), Options{TableName: "t", Region: "eu-west-1", Endpoint: "http://127.0.0.1:1", HTTPClient: w, Retry: r})
	if err != nil {
		t.Fatal(err)
	}
	return tab, w
}

// TestBudget: the time of a call is bounded, however many attempts are left.
func TestBudget(t *testing.T) {
	retry := Retry{Attempts: 1_000_000, Budget: 300 * time.Millisecond, Attempt: 50 * time.Millisecond, Pause: 1, MaxPause: time.Millisecond}
	for _, f := range []fault{throttled, silence} {
		tab, _ := offline(t, retry, f)
		start := time.Now()
		_, err := tab.Get(context.Background(), table.Key{PK: "p", SK: "s"})
		took := time.Since(start)
		if err == nil || took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: %s, error %v", f.name, took, err)
		}
	}
}

// TestPauseThatDoesNotFit: a call whose budget would end in a pause says so at
// once.
func TestPauseThatDoesNotFit(t *testing.T) {
	tab, w := offline(t, Retry{Budget: 10 * time.Second, Pause: 1000 * time.Hour, MaxPause: 1000 * time.Hour}, throttled)
	start := time.Now()
	_, err := tab.Get(context.Background(), table.Key{PK: "p", SK: "s"})
	var api smithy.APIError
	if took := time.Since(start); took > 5*time.Second || !errors.As(err, &api) || w.reset()["GetItem"] != 1 {
		t.Errorf("%s, error %v", took, err)
	}
}

// TestCancel: a caller who leaves is not kept, in an attempt or between two,
// and hears why.
func TestCancel(t *testing.T) {
	a := testItem("a", "v1")
	for _, f := range []fault{throttled, silence} {
		retry := Retry{Attempts: 1_000_000, Budget: time.Minute, Attempt: time.Minute, Pause: time.Millisecond, MaxPause: 20 * time.Millisecond}
		tab, _ := offline(t, retry, f)
		for name, do := range map[string]func(context.Context) error{
			"get":       func(ctx context.Context) error { _, err := tab.Get(ctx, a.Key); return err },
			"batch get": func(ctx context.Context) error { _, err := tab.BatchGet(ctx, []table.Key{a.Key}); return err },
			"query":     func(ctx context.Context) error { _, err := tab.Query(ctx, table.Range{PK: "p", Limit: 1}); return err },
			"put":       func(ctx context.Context) error { return tab.Write(ctx, []table.Action{table.Put(a, table.Always())}) },
			"replace": func(ctx context.Context) error {
				return tab.Write(ctx, []table.Action{table.Put(a, table.IfVersion("v0"))})
			},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(50*time.Millisecond, cancel)
			start := time.Now()
			if err := do(ctx); !errors.Is(err, context.Canceled) || time.Since(start) > 5*time.Second {
				t.Errorf("%s, %s: %v", name, f.name, err)
			}
			deadline, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			if err := do(deadline); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, %s: %v", name, f.name, err)
			}
			cancel()
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tab, w := offline(t, Retry{}, throttled)
	if err := tab.Write(ctx, []table.Action{table.Check(a.Key, table.Always())}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := tab.Get(ctx, a.Key); !errors.Is(err, context.Canceled) || len(w.reset()) != 0 {
		t.Errorf("%v; a cancelled call asked DynamoDB", err)
	}
}
