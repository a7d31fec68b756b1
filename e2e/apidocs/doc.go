// Package apidocs is tests that the built broker answers as spec/openapi.yaml and spec/asyncapi.yaml say, and that they say all that it answers.
package apidocs
