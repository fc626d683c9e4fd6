import { mixFetch, setupMixTunnel, tunnelEvents } from 'smolmix-web';

const form = document.querySelector('form');
const status = document.querySelector('[role=status]');
const output = document.querySelector('pre');

// Options in the address, for networks of your own: ?network=http://127.0.0.1:8000/api/&forceTls=false
const given = Object.fromEntries(new URLSearchParams(location.search));
const options = { ...given, forceTls: given.forceTls !== 'false', assets: new URL('smolmix/', document.baseURI) };

tunnelEvents.addEventListener('progress', ({ detail: { stage, fraction } }) => {
  status.textContent = `${stage} ${Math.round(100 * fraction)} %`;
});

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    await setupMixTunnel(options);
    const response = await mixFetch(form.url.value);
    status.textContent = `${response.status} ${response.statusText}`;
    output.textContent = await response.text();
  } catch (error) {
    status.textContent = `${error.name}: ${error.message}`;
  }
});
