package remote

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"tidemark/pkg/mtree/exit"
)

// checkProxy refuses a proxy of the environment for this scheme that cannot be one. net/http would go to
// the source without any, or to a host that is a part of somebody's password. The value may hold a
// password, and is not shown.
func checkProxy(scheme string) error {
	for _, name := range []string{strings.ToUpper(scheme) + "_PROXY", scheme + "_proxy"} { // in the order of net/http
		given := os.Getenv(name)
		if given == "" {
			continue
		}
		if !strings.Contains(given, "://") {
			given = "http://" + given
		}
		proxy, err := url.Parse(given)
		if err != nil || proxy.Hostname() == "" || proxy.RawQuery != "" || proxy.Fragment != "" ||
			!slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme) { // guard: TestProxiesThatAreNone
			return exit.With(exit.Usage, fmt.Errorf("%s names no proxy", name),
				"want http://[USER:PASSWORD@]HOST:PORT or socks5://…, with %23 for # and the like; or unset it")
		}
		return nil
	}
	return nil
}
