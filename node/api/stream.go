package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"clusterd/node/mesos"

	"google.golang.org/protobuf/proto"
)

// eventSource is what the streams of schedulers and executors have in common.
type eventSource[E proto.Message] interface {
	Next(ctx context.Context) ([]E, error)
	Close()
}

// copyEvents answers 200 and writes the events of stream as records (SCH-36, SCH-40, EXE-7) until the
// stream ends, the client goes away or stops reading (SCH-291). Each batch is flushed at once (SCH-41).
// The answer is chunked, never compressed and has no Content-Length (SCH-37, SCH-19).
func copyEvents[E proto.Message](w http.ResponseWriter, r *http.Request, log *slog.Logger, t mesos.MediaType, stream eventSource[E]) {
	defer stream.Close()
	w.Header().Set("Content-Type", t.String())
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	// The client learns that it is connected before the first event.
	if err := control.Flush(); err != nil {
		return
	}
	var records []byte
	for {
		events, err := stream.Next(r.Context())
		records = records[:0]
		for _, event := range events {
			record, err := t.Marshal(event)
			if err != nil {
				log.Error("event stream cut off", "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
				panic(http.ErrAbortHandler)
			}
			records = mesos.AppendRecord(records, record)
		}
		if len(records) > 0 {
			if _, err := w.Write(records); err != nil {
				log.Info("event stream cut off: the client is gone or does not read", "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
				panic(http.ErrAbortHandler)
			}
			if err := control.Flush(); err != nil {
				log.Info("event stream cut off: the client is gone or does not read", "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
				panic(http.ErrAbortHandler)
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return // The last chunk tells the client that the stream is complete.
		default:
			if r.Context().Err() == nil {
				log.Info("event stream cut off", "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
			}
			panic(http.ErrAbortHandler)
		}
		if cap(records) > 16*spillBytes {
			records = nil // One large batch does not stay in memory for the life of the stream.
		}
	}
}
