package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"clusterd/node/mesos"

	"google.golang.org/protobuf/proto"
)

const (
	// maxBodyBytes limits a request body, before and after decompression. Mesos takes 12 MiB (SCH-294).
	maxBodyBytes = 12 << 20
	// maxDrainBytes of a body over the limit are read and thrown away so that the connection stays
	// usable; a client that sends still more is cut off.
	maxDrainBytes = 64 << 20
	// bodyTimeout is the time for a whole body.
	bodyTimeout = 2 * time.Minute
)

// callText holds what differs in the answers of the call endpoints to a request that is no call.
type callText struct {
	contentTypes  string // the types named in a 415
	convertPrefix string // before the complaint about JSON that is no call
	protobuf      string // the complaint about bytes that are no call
}

var frameworkCallText = callText{
	contentTypes:  "application/json or application/x-protobuf",
	convertPrefix: "Failed to convert JSON into Call protobuf: ",
	protobuf:      "Failed to parse body into Call protobuf",
}

// agentCallText is for the operator calls of an agent, which word it differently (OPR-77).
var agentCallText = callText{
	contentTypes: "application/json or application/x-protobuf or application/recordio",
	protobuf:     "Failed to parse body into a protobuf object",
}

// readCall makes the checks that every POST endpoint for calls shares, from the method to the body, and
// decodes the body into call. It returns nil if all went well.
func readCall(w http.ResponseWriter, r *http.Request, text callText, call proto.Message) *Answer {
	if r.Method != http.MethodPost {
		return refuseMethod(w, r, http.MethodPost)
	}
	mediaType, given, known := contentType(r)
	if !given {
		return &Answer{Status: http.StatusBadRequest, Body: "Expecting 'Content-Type' to be present"}
	}
	if !known {
		return &Answer{Status: http.StatusUnsupportedMediaType, Body: "Expecting 'Content-Type' of " + text.contentTypes}
	}
	body, refused := readBody(w, r)
	if refused != nil {
		return refused
	}
	if err := mediaType.Unmarshal(body, call); err != nil {
		return &Answer{Status: http.StatusBadRequest, Body: text.complaint(mediaType, err)}
	}
	return nil
}

// complaint words why a body is no call (SCH-7, SCH-8).
func (t callText) complaint(mediaType mesos.MediaType, err error) string {
	if mediaType == mesos.Protobuf {
		return t.protobuf
	}
	if syntax, ok := errors.AsType[*mesos.SyntaxError](err); ok {
		return "Failed to parse body into JSON: " + syntax.Error()
	}
	return t.convertPrefix + err.Error()
}

// refuseMethod answers a method that the endpoint does not have (SCH-3, OPR-9).
func refuseMethod(w http.ResponseWriter, r *http.Request, allowed string) *Answer {
	w.Header().Set("Allow", allowed)
	return &Answer{
		Status: http.StatusMethodNotAllowed,
		Body: "405 Method Not Allowed. Expecting one of { '" + strings.ReplaceAll(allowed, ", ", "', '") +
			"' }, but received '" + r.Method + "'.",
	}
}

// limitBody gives a client the time bodyTimeout to send the body of r, whether anybody reads it or it is
// thrown away after the answer. The limit ends with the request.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// readBody reads the whole body, decompressed if it is gzip (SCH-19).
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *Answer) {
	if r.ContentLength > maxBodyBytes && r.Header.Get("Expect") != "" {
		return nil, tooLarge() // The client asked first: spare it the sending.
	}
	body, refused := readBounded(r.Body)
	if refused != nil {
		return nil, refused
	}
	// The body is complete: from here on the connection is only watched for its end. An error means that
	// it has no time limits, as in a test.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if !strings.EqualFold(strings.TrimSpace(r.Header.Get("Content-Encoding")), "gzip") {
		return body, nil
	}
	return unzip(body)
}

func readBounded(body io.Reader) ([]byte, *Answer) {
	b, err := io.ReadAll(io.LimitReader(body, maxBodyBytes+1))
	if err == nil && len(b) > maxBodyBytes {
		if _, err = io.CopyN(io.Discard, body, maxDrainBytes); err == nil || errors.Is(err, io.EOF) {
			return nil, tooLarge()
		}
	}
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Answer{Status: http.StatusRequestTimeout, Body: "The request body did not arrive in time"}
	default:
		return nil, &Answer{Status: http.StatusBadRequest, Body: "Failed to read the request body: " + err.Error()}
	}
}

func unzip(body []byte) ([]byte, *Answer) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, &Answer{Status: http.StatusBadRequest, Body: "Failed to decompress the request body: " + err.Error()}
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxBodyBytes+1))
	switch {
	case err != nil:
		return nil, &Answer{Status: http.StatusBadRequest, Body: "Failed to decompress the request body: " + err.Error()}
	case len(plain) > maxBodyBytes:
		return nil, tooLarge()
	}
	return plain, nil
}

func tooLarge() *Answer {
	return &Answer{
		Status: http.StatusRequestEntityTooLarge,
		Body:   "413 Request Entity Too Large. The limit is 12 MiB.",
	}
}
