/**
 * The demonstration: a sigstore and a registry of its own, Attestry in front of them, and real npm
 * installing from both. Offline; exits 0 only when everything came out as announced.
 */
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { findNpm, npmInstall, type Install } from './npm.ts'
import { printTo, type Printer } from './print.ts'
import { policy, scenes, type Scene } from './story.ts'

/** Whether npm got what was announced, or was refused and told why. */
export const asAnnounced = (
  { admits, refuses }: Scene,
  { run, installed }: Install,
): boolean =>
  admits === undefined
    ? run.code !== 0 &&
      run.code !== null &&
      installed.length === 0 &&
      refuses !== undefined &&
      run.output.includes(refuses)
    : run.code === 0 && installed.length === 1 && installed[0] === admits

/** npm's words for the reason, said most briefly; the page they point at goes with the demonstration. */
const npmWords = ({ run }: Install, reason: string): string => {
  const lines = run.output
    .split('\n')
    .map(line =>
      line
        .replace(/^npm (error 403|ERR! 403|error|ERR!|notice)\s*/, '')
        .replace(/\s+See http\S+$/, ''),
    )
    .filter(line => line.includes(reason))
    .toSorted((a, b) => a.length - b.length)
  return lines[0] ?? ''
}

const tell = (print: Printer, scene: Scene, direct: Install, guarded: Install) => {
  print.say(`npm install ${scene.spec}`, { indent: 3, mark: '$ ', style: 'bold' })
  const plain = direct.installed.join(' ')
  print.say(plain === '' ? 'nothing installed' : `installs ${plain}`, {
    indent: 5,
    mark: 'from the registry:  ',
    style: plain === scene.admits ? 'green' : 'yellow',
  })
  const through = guarded.installed.join(' ')
  print.say(through === '' ? 'refused' : `installs ${through}`, {
    indent: 5,
    mark: 'through Attestry:   ',
    style: through === '' ? 'red' : 'green',
  })
  const words = npmWords(guarded, scene.refuses ?? ' ')
  if (through === '') print.say(words, { indent: 5, mark: 'npm says:  ', style: 'dim' })
}

const announce = ({ admits, refuses }: Scene) =>
  admits === undefined ? `Announced: refused, ${refuses}.` : `Announced: ${admits} installed.`

const play = async (npm: string, print: Printer): Promise<boolean> => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [policy],
    // each scene publishes something new
    settings: 'cache: { packumentTtl: 0s }',
  })
  try {
    let right = 0
    for (const [i, scene] of scenes.entries()) {
      await scene.publish({ registry })
      print.gap()
      print.say(scene.title, { mark: `${i + 1}  `, style: ['bold', 'cyan'] })
      print.say(scene.tale, { indent: 3 })
      print.say(announce(scene), { indent: 3 })
      const [direct, guarded] = await Promise.all([
        npmInstall(npm, registry.url, scene.spec),
        npmInstall(npm, proxy.url, scene.spec),
      ])
      tell(print, scene, direct, guarded)
      const well = asAnnounced(scene, guarded)
      if (well) {
        right++
        print.say('as announced', { indent: 3, mark: 'ok  ', style: 'green' })
      } else {
        print.say('NOT as announced', { indent: 3, mark: '!!  ', style: ['bold', 'red'] })
        print.say(guarded.run.output, { indent: 7 })
      }
    }
    print.gap()
    const all = right === scenes.length
    print.say(`${right} of ${scenes.length} outcomes as announced.`, {
      style: all ? ['bold', 'green'] : ['bold', 'red'],
    })
    return all
  } finally {
    await proxy.close()
    await registry.close()
    await sigstore.close()
  }
}

const main = async (): Promise<number> => {
  const print = printTo(process.stdout)
  const npm = findNpm(process.env)
  if (npm === undefined) {
    process.stderr.write('demo: found no npm on the PATH; wanted one beside node\n')
    return 2
  }
  print.say('Attestry: who published this, and were they allowed to?', { style: 'bold' })
  print.gap()
  print.say(
    'A small registry and a sigstore run on this machine, Attestry stands before them, and ' +
      'real npm installs from both. Nothing leaves the machine. The policy:',
  )
  print.gap()
  for (const line of policy.trimEnd().split('\n')) process.stdout.write(`   ${line}\n`)
  return (await play(npm, print)) ? 0 : 1
}

if (import.meta.main) process.exitCode = await main()
