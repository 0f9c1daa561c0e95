package dynamo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
)

// wire is the network between the engine and a stand-in: it counts, loses and
// refuses. It adds what no stand-in does, DynamoDB's memory of the
// ClientRequestTokens of transactions that happened, as AWS documents it.
type wire struct {
	mu     sync.Mutex
	calls  map[string]int
	tokens map[string]string // what was sent with the token
	stale  []string          // reads that do not ask for consistency, which no stand-in shows
	// fault is asked for each request, the n-th of its operation from 1 on.
	fault func(op string, n int) fault
}

// fault is what happens to one request. The zero fault is none.
type fault struct {
	name string
	// answer comes instead of the stand-in's, which is not asked.
	answer func(*http.Request) (*http.Response, error)
	// lose comes instead of the stand-in's answer, after it took effect.
	lose func(*http.Request, *http.Response) (*http.Response, error)
	// keep says how many keys of a BatchGetItem are processed.
	keep func(keys int) int
	// meanwhile runs before the answer. Calling again sends the request once
	// more, as a network does that delivers late.
	meanwhile func(again func())
}

func newWire() *wire {
	return &wire{calls: map[string]int{}, tokens: map[string]string{}}
}

// inject makes the fault happen to the first n requests of the operation.
func (w *wire) inject(op string, n int, f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = map[string]int{}
	w.fault = func(called string, i int) fault {
		if called == op && i <= n {
			return f
		}
		return fault{}
	}
}

// reset ends all faults and returns how often each operation was called.
func (w *wire) reset() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.calls
	w.calls, w.fault = map[string]int{}, nil
	return was
}

// Do implements aws.HTTPClient.
func (w *wire) Do(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.calls[op]++
	var f fault
	if w.fault != nil {
		f = w.fault(op, w.calls[op])
	}
	w.mu.Unlock()

	again := func() { _, _ = w.forward(r, op, body, fault{}) }
	if f.meanwhile != nil {
		defer f.meanwhile(again)
	}
	if f.answer != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return f.answer(r)
	}
	resp, err := w.forward(r, op, body, f)
	if err != nil || f.lose == nil {
		return resp, err
	}
	return f.lose(r, resp)
}

// forward asks the stand-in, one request at a time, with the memory of tokens.
func (w *wire) forward(r *http.Request, op string, body []byte, f fault) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if !isConsistent(op, in) {
		w.stale = append(w.stale, op)
	}
	token, _ := in["ClientRequestToken"].(string)
	delete(in, "ClientRequestToken")
	canonical, _ := json.Marshal(in) // keys in order
	if before, known := w.tokens[token]; known {
		if before != string(canonical) {
			return respond(r, 400, errorBody("IdempotentParameterMismatchException", nil)), nil
		}
		return respond(r, 200, "{}"), nil
	}
	var held map[string]any
	if f.keep != nil {
		held = withhold(in, f.keep)
		body, _ = json.Marshal(in)
	}
	sent := r.Clone(r.Context())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	sent.ContentLength = int64(len(body))
	resp, err := http.DefaultClient.Do(sent)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if token != "" && resp.StatusCode == 200 {
		w.tokens[token] = string(canonical)
	}
	if held != nil {
		var out map[string]any
		_ = json.Unmarshal(raw, &out)
		out["UnprocessedKeys"] = held
		raw, _ = json.Marshal(out)
		resp.Header.Del("X-Amz-Crc32")
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	resp.ContentLength = int64(len(raw))
	resp.Header.Set("Content-Length", fmt.Sprint(len(raw)))
	return resp, nil
}

// isConsistent says whether a request is no read or a consistent one.
func isConsistent(op string, in map[string]any) bool {
	switch op {
	case "GetItem", "Query":
		return in["ConsistentRead"] == true
	case "BatchGetItem":
		for _, request := range in["RequestItems"].(map[string]any) {
			if request.(map[string]any)["ConsistentRead"] != true {
				return false
			}
		}
	}
	return true
}

// withhold takes keys out of a BatchGetItem and returns them in the form of
// UnprocessedKeys. One key at least has to go to the stand-in.
func withhold(in map[string]any, keep func(int) int) map[string]any {
	held := map[string]any{}
	for name, request := range in["RequestItems"].(map[string]any) {
		request := request.(map[string]any)
		keys := request["Keys"].([]any)
		n := max(1, keep(len(keys)))
		if n == len(keys) {
			return nil
		}
		rest := maps.Clone(request)
		rest["Keys"], request["Keys"] = keys[n:], keys[:n]
		held[name] = rest
	}
	return held
}

func respond(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       r,
	}
}

func errorBody(code string, reasons []string) string {
	body := map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + code, "message": "injected"}
	if reasons != nil {
		var list []map[string]string
		for _, reason := range reasons {
			list = append(list, map[string]string{"Code": reason, "Message": "injected"})
		}
		body["CancellationReasons"] = list
	}
	raw, _ := json.Marshal(body)
	return string(raw)
}

// answers is a fault: an error instead of an answer.
func answers(status int, code string, reasons ...string) fault {
	return fault{name: fmt.Sprintf("%d %s %v", status, code, reasons), answer: func(r *http.Request) (*http.Response, error) {
		return respond(r, status, errorBody(code, reasons)), nil
	}}
}

// The faults after which it is certain that nothing happened.
var (
	throttled     = answers(400, "ThrottlingException")
	exceeded      = answers(400, "ProvisionedThroughputExceededException")
	limited       = answers(400, "RequestLimitExceeded")
	inProgress    = answers(400, "TransactionInProgressException")
	conflict      = answers(400, "TransactionConflictException")
	cancelled     = answers(400, "TransactionCanceledException", "None", "TransactionConflict")
	cancelledBusy = answers(400, "TransactionCanceledException", "ThrottlingError", "TransactionConflict")
	cancelledCap  = answers(400, "TransactionCanceledException", "ProvisionedThroughputExceeded", "None")
	nothingRead   = fault{name: "all unprocessed", answer: func(r *http.Request) (*http.Response, error) {
		var in map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			return nil, err
		}
		return respond(r, 200, fmt.Sprintf(`{"Responses":{},"UnprocessedKeys":%s}`, in["RequestItems"])), nil
	}}
	halfRead        = fault{name: "half unprocessed", keep: func(n int) int { return n / 2 }}
	oneRead         = fault{name: "all but one unprocessed", keep: func(int) int { return 1 }}
	beforeError     = answers(500, "InternalServerError")
	beforeNoService = fault{name: "503 before, not of DynamoDB", answer: func(r *http.Request) (*http.Response, error) {
		return respond(r, 503, "<html>Service Unavailable</html>"), nil
	}}
	beforeReset = fault{name: "connection lost before", answer: func(*http.Request) (*http.Response, error) {
		return nil, io.ErrUnexpectedEOF
	}}
	beforeTimeout = fault{name: "timeout before", answer: func(*http.Request) (*http.Response, error) {
		return nil, os.ErrDeadlineExceeded
	}}
	silence = fault{name: "no answer", answer: func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
)

// The faults after the request took effect.
var (
	afterError = fault{name: "500 after", lose: func(r *http.Request, _ *http.Response) (*http.Response, error) {
		return respond(r, 500, errorBody("InternalServerError", nil)), nil
	}}
	afterReset = fault{name: "connection lost after", lose: func(*http.Request, *http.Response) (*http.Response, error) {
		return nil, io.ErrUnexpectedEOF
	}}
	afterTimeout = fault{name: "timeout after", lose: func(*http.Request, *http.Response) (*http.Response, error) {
		return nil, os.ErrDeadlineExceeded
	}}
	afterSilence = fault{name: "no answer after", lose: func(r *http.Request, _ *http.Response) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	afterCut = fault{name: "answer cut off", lose: func(r *http.Request, _ *http.Response) (*http.Response, error) {
		return respond(r, 200, `{"Item":{"pk":{"S`), nil
	}}
)
