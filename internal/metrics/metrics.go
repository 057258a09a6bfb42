package metrics

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidemark/internal/listen"
	"tidemark/internal/weblog"
	"tidemark/pkg/mtree/exit"
)

// StatsFunc yields the numbers of a program. Names that end in _total are counters.
type StatsFunc func(yield func(name, help string, value int64))

// StatesFunc yields what a program is in one state of several: the state now, and all that there are.
// Each becomes a metric with a label "state", 1 for the state now and 0 for the others.
type StatesFunc func(yield func(name, help, now string, all []string))

// Program is what --metrics publishes of a program.
type Program struct {
	Name, Version string

	Stats  StatsFunc  // may be nil
	States StatesFunc // may be nil
	Disk   string     // a path on the file system that it writes to; "": it writes to none

	// Page writes a page of HTML for people, by several goroutines at once. nil: there is one that names the program.
	Page func(io.Writer) error
}

// Serve answers /metrics, and / with a page for people, on addr until close is
// called.
func Serve(log *slog.Logger, addr string, of Program) (closeServer func(), err error) {
	numbers := &collector{Program: of}
	if of.Disk != "" {
		numbers.room = &room{path: of.Disk}
	}
	page := &page{log: log, write: of.Page}
	if of.Page == nil {
		page.write = func(w io.Writer) error { return writeIndex(w, of.Name, of.Version) }
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), numbers)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: weblog.New(log)}))
	mux.Handle("GET /{$}", page)
	return serveOn(log, "metrics", addr, mux)
}

// ServePprof answers /debug/pprof/ on addr until close is called. It has an address of its own: whoever may
// read metrics may not therefore look into the program, or make it work for a profile.
func ServePprof(log *slog.Logger, addr string) (closeServer func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return serveOn(log, "pprof", addr, mux)
}

// serveOn answers on addr, the value of an option, until close is called.
func serveOn(log *slog.Logger, option, addr string, handler http.Handler) (closeServer func(), err error) {
	if err := listen.CheckAddress(addr); err != nil {
		return nil, exit.With(exit.Usage, err, "give --"+option+" HOST:PORT")
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, exit.With(exit.Local, err, "choose another --"+option+" address")
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: weblog.New(log)}
	go func() { _ = server.Serve(listener) }() // ends with Close
	return func() { _ = server.Close() }, nil
}

// collector collects the numbers of a program.
type collector struct {
	Program
	room *room // of the file system that it writes to; nil: it writes to none
}

// Describe sends nothing: the names come with the numbers.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present numbers.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	prefix := "tidemark_" + c.Name + "_"
	send := func(kind prometheus.ValueType, name, help string, value float64, labels prometheus.Labels) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), kind, value)
	}
	send(prometheus.GaugeValue, "tidemark_build_info", "Always 1: which program this is, its version, and that of Go.", 1,
		prometheus.Labels{"program": c.Name, "version": c.Version, "goversion": runtime.Version()})
	if c.Stats != nil {
		c.Stats(func(name, help string, value int64) { send(kindOf(name), prefix+name, help, float64(value), nil) })
	}
	if c.States != nil {
		c.States(func(name, help, now string, all []string) {
			for _, state := range all {
				send(prometheus.GaugeValue, prefix+name, help, is(state == now), prometheus.Labels{"state": state})
			}
		})
	}
	if c.room != nil {
		c.room.each(func(name, help string, value float64) { send(prometheus.GaugeValue, prefix+name, help, value, nil) })
	}
}

// kindOf returns the kind of a metric by its name.
func kindOf(name string) prometheus.ValueType {
	if strings.HasSuffix(name, "_total") {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// is returns 1 for true.
func is(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
