package serve

// HTTPServer returns what Server begins with.
var HTTPServer = httpServer
