# The notebook examples/beer_or_wings.ipynb, served on port 8888:
#
#   docker build -t whatsit .
#   docker run --rm -p 127.0.0.1:8888:8888 -v "$PWD/photos:/home/whatsit/photos" whatsit
#
# Jupyter prints the address with its token when it starts.
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 whatsit
WORKDIR /home/whatsit

COPY pyproject.toml README.md CHANGELOG.md LICENSE /opt/whatsit/
COPY src /opt/whatsit/src
RUN pip install --no-cache-dir '/opt/whatsit[train,web,notebook]'

COPY --chown=1000 examples ./
USER 1000
EXPOSE 8888
CMD ["jupyter", "notebook", "--ip=0.0.0.0", "--no-browser", "beer_or_wings.ipynb"]
