package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// Retry bounds the attempts of one call.
type Retry struct {
	// Attempts is the most attempts, the first included. Default: 10.
	Attempts int
	// Budget is the longest that a call may take, attempts and pauses
	// together. Default: 20 s, which leaves room inside the 29 s that API
	// Gateway waits, and far inside the 10 minutes for which DynamoDB knows a
	// ClientRequestToken.
	Budget time.Duration
	// Attempt is the longest that one attempt may take. Default: 8 s.
	Attempt time.Duration
	// Pause bounds the first pause; each next one may be twice as long, up to
	// MaxPause. The pause itself is random between zero and the bound ("full
	// jitter"), so that those who collided do not meet again. Defaults: 25 ms
	// and 2 s.
	Pause, MaxPause time.Duration
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 10
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&r.Budget, 20 * time.Second},
		{&r.Attempt, 8 * time.Second},
		{&r.Pause, 25 * time.Millisecond},
		{&r.MaxPause, 2 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return r
}

// call is a call between its attempts.
type call struct {
	attempts int
	// doubt is the error of an attempt that may have taken effect, or nil.
	doubt error
}

// do calls attempt until it succeeds, fails for good, or the bounds of t.retry
// or ctx end it.
func (t *Table) do(ctx context.Context, op string, attempt func(context.Context, *call) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("dynamo: %s: %w", op, err)
	}
	budget, cancel := context.WithTimeout(ctx, t.retry.Budget)
	defer cancel()
	start := time.Now()
	var c call
	for {
		err := t.once(budget, &c, attempt)
		if err == nil {
			return nil
		}
		switch classify(err) {
		case final:
			return fmt.Errorf("dynamo: %s: %w", op, err)
		case doubtful:
			c.doubt = err
		}
		if c.attempts < t.retry.Attempts {
			if t.pause(budget, c.attempts) == nil {
				continue
			}
			if end := callersEnd(ctx, budget); end != nil {
				return fmt.Errorf("dynamo: %s: %w after: %w", op, end, err)
			}
		}
		return fmt.Errorf("dynamo: %s: gave up after %d attempts in %s: %w",
			op, c.attempts, time.Since(start).Round(time.Millisecond), err)
	}
}

// callersEnd is the reason to stop where it is the caller's and not the
// budget's: ctx has ended, or will before the budget does.
func callersEnd(ctx, budget context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	callers, ok := ctx.Deadline()
	if ours, _ := budget.Deadline(); ok && !ours.Before(callers) {
		return context.DeadlineExceeded
	}
	return nil
}

// once does one attempt in its own time.
func (t *Table) once(ctx context.Context, c *call, attempt func(context.Context, *call) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.retry.Attempt)
	defer cancel()
	c.attempts++
	err := attempt(ctx, c)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return &timeoutError{err}
	}
	return err
}

// timeoutError is the end of an attempt that got no answer: by its own time,
// by the budget's, or by the caller's.
type timeoutError struct{ error }

func (e *timeoutError) Unwrap() error { return e.error }

// pause waits before the next attempt, after n that failed. It returns an
// error, at once, where ctx would end before.
func (t *Table) pause(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bound := t.retry.Pause
	for range n - 1 {
		bound = min(2*bound, t.retry.MaxPause)
	}
	wait := rand.N(bound + 1)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// verdict is what an error means for the next attempt.
type verdict uint8

const (
	final    verdict = iota // another attempt would fail as this one did
	refused                 // nothing happened, and it may next time
	doubtful                // it may have happened, and the answer got lost
)

// refusals are the error codes of requests that DynamoDB turned away before it
// did anything, beside those that the SDK knows as throttling.
var refusals = []string{
	"TransactionConflictException",     // a PutItem met a transaction
	"ReplicatedWriteConflictException", // or a write in another region
	"TransactionInProgressException",   // our own earlier attempt is still at work
}

// passing are the reasons of a cancelled transaction that may be gone next
// time.
var passing = []string{
	"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded",
	"RequestLimitExceeded", "InternalServerError", "TransactionInProgress",
}

var transient = retry.IsErrorRetryables(retry.DefaultRetryables)

func classify(err error) verdict {
	var timeout *timeoutError
	var cancelled *types.TransactionCanceledException
	var api smithy.APIError
	var dial *net.OpError
	var unreadable *smithy.DeserializationError
	switch {
	case errors.Is(err, errUnprocessed):
		return refused
	case errors.As(err, &timeout):
		return doubtful
	case errors.As(err, &cancelled):
		return classifyReasons(cancelled.CancellationReasons)
	case errors.As(err, &api) && isRefusal(api.ErrorCode()):
		return refused
	case errors.As(err, &dial) && dial.Op == "dial" && transient.IsErrorRetryable(err) == aws.TrueTernary:
		return refused // nothing was sent
	case errors.As(err, &unreadable):
		return doubtful // an answer that was cut off, or whose checksum is wrong
	case transient.IsErrorRetryable(err) == aws.TrueTernary:
		return doubtful // 500, 503, a connection that broke
	}
	return final
}

func isRefusal(code string) bool {
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	return throttled || slices.Contains(refusals, code)
}

// classifyReasons judges a transaction that was cancelled, and so certainly
// did not happen, for no condition of its own. Every reason has to be one that
// passes: an item that is too large stays too large.
func classifyReasons(reasons []types.CancellationReason) verdict {
	v := final
	for _, r := range reasons {
		code := aws.ToString(r.Code)
		switch {
		case code == "" || code == "None":
		case slices.Contains(passing, code):
			v = refused
		default:
			return final
		}
	}
	return v
}
