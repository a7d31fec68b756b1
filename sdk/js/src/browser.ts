/** Everything in one file for browsers, dist/carillon.js: what `@carillon/client` exports. */
export * from './index.js'
