package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// The bounds of sending again. With 5 attempts a request gives up after about 5
// seconds of failures, a throttled one after about 15.
const (
	maxBackoff = 5 * time.Second
	// headerTimeout ends an attempt that S3 does not answer. It starts when the
	// body is sent; long copies answer their first byte early.
	headerTimeout = time.Minute
)

// transient are errors of S3 that the SDK does not send again by itself: a race
// with another conditional write, and bytes that were damaged on the way.
var transient = []string{
	"ConditionalRequestConflict", "OperationAborted", "InternalError",
	"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody",
}

// tuned returns the client with this engine's retries and checksums.
func tuned(c *s3.Client, attempts int) *s3.Client {
	return s3.New(c.Options(), func(o *s3.Options) {
		o.Retryer = retry.AddWithErrorCodes(retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = attempts
			r.MaxBackoff = maxBackoff
		}), transient...)
		// Else every GetObject asks for checksums: in a pre-signed URL that is
		// a signed header, and of ranges and multipart objects S3 has none.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if b, ok := o.HTTPClient.(*awshttp.BuildableClient); ok && b.GetTransport().ResponseHeaderTimeout == 0 {
			o.HTTPClient = b.WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = headerTimeout })
		}
	})
}

// sum is a SHA-256.
type sum [32]byte

// base64 is how S3 writes checksums.
func (x sum) base64() string { return base64.StdEncoding.EncodeToString(x[:]) }

// parseSum reads the checksum of a whole object: that of a multipart object ends
// in "-" and a number, and is an error.
func parseSum(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil && len(b) != len(sum{}) {
		err = errors.New("not a SHA-256")
	}
	return b, err
}

// signed has the request's signature cover the hash of its body, which is known
// here. The SDK would hash again over HTTP and leave it out over HTTPS.
func signed(x sum) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("SlipwayPayloadHash",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
				middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, hex.EncodeToString(x[:])), in)
			}), middleware.Before)
	})
}

// is reports whether S3 answered with one of the error codes.
func is(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}

// missing reports whether the error says that there is no such object. HEAD has
// no body that could name the error, so there it is the status.
func missing(err error) bool {
	var resp *awshttp.ResponseError
	return is(err, "NoSuchKey", "NotFound") ||
		errors.As(err, &resp) && resp.HTTPStatusCode() == http.StatusNotFound && !is(err, "NoSuchBucket", "NoSuchUpload")
}
