package cli

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tidemark/internal/weblog"
	"tidemark/pkg/mtree/exit"
)

// StatsFunc yields the numbers of a program. Names that end in _total are counters.
type StatsFunc func(yield func(name, help string, value int64))

// serveMetrics answers /metrics and /debug/pprof/ on addr until close is
// called.
func serveMetrics(log *slog.Logger, addr, command string, stats StatsFunc) (closeServer func(), err error) {
	if err := checkAddress(addr); err != nil {
		return nil, exit.With(exit.Usage, err, "give --metrics HOST:PORT")
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, exit.With(exit.Local, err, "choose another --metrics address")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&statsCollector{prefix: "tidemark_" + command + "_", stats: stats})
	errorLog := weblog.New(log)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: errorLog}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: errorLog}
	go func() { _ = server.Serve(listener) }() // ends with Close
	return func() { _ = server.Close() }, nil
}

// statsCollector turns the numbers of a program into metrics when asked.
type statsCollector struct {
	prefix string
	stats  StatsFunc
}

// Describe sends nothing: the names come with the numbers.
func (c *statsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present numbers.
func (c *statsCollector) Collect(out chan<- prometheus.Metric) {
	if c.stats == nil {
		return
	}
	c.stats(func(name, help string, value int64) {
		kind := prometheus.GaugeValue
		if strings.HasSuffix(name, "_total") {
			kind = prometheus.CounterValue
		}
		desc := prometheus.NewDesc(c.prefix+name, help, nil, nil)
		out <- prometheus.MustNewConstMetric(desc, kind, float64(value))
	})
}
