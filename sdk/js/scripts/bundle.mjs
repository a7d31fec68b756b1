// How the one file for browsers is made: build.mjs makes it, names.mjs makes it small.
import { build } from 'esbuild'
import { minify } from 'terser'

/** In which order letters become names of variables. It is fixed, so that these do not depend on the names of members. */
const letters = 'etisrnohalcfupdmwygbvkxqTACEIMNOPRSUDFGHJKLQVWXYZBjz$_'

const identifiers = {
  get(n) {
    let name = ''
    for (n++; n > 0; n = Math.floor(n / letters.length)) name += letters[--n % letters.length]
    return name
  },
}

/** The files for browsers, each with what it is made of. Those beside the client work with the one that was made with it, by the names of its members. */
export const files = { carillon: 'browser', presence: 'presence', compress: 'compress' }

/**
 * bundle puts the sources into one module, as small as can be without changing what it does. Members that begin with _, which are
 * internal everywhere, get short names: the given ones, or any.
 */
export async function bundle(names, entry = 'browser') {
  const { outputFiles, mangleCache } = await build({
    entryPoints: [`src/${entry}.ts`],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    mangleProps: /^_[a-z]/,
    mangleCache: names,
    write: false,
  })
  const { code } = await minify(outputFiles[0].text, {
    module: true,
    ecma: 2020,
    compress: { passes: 3, ecma: 2020, unsafe_arrows: true, hoist_funs: true, reduce_funcs: false, lhs_constants: false, arrows: false, conditionals: false, pure_getters: true },
    mangle: { nth_identifier: identifiers },
  })
  return { code: code + '\n', members: Object.keys(mangleCache) }
}
